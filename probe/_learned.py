"""What solvers in closed form know of the rows they are fitted on: statistics of coordinates, and the layer's scale."""

from dataclasses import dataclass

from probe._inputs import Inputs
from probe.coordinates import Coordinates
from probe.gathered import is_gathered, refuse_many
from probe.statistics import Statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """Statistics of the fitted rows, with the labels that are fitted."""

    inputs: Inputs
    """The rows."""
    whole: Statistics | None
    """Of the whole layer; None where only some of its neurons are stored: then each subset is counted by itself."""
    n: int
    """Rows, of all views."""
    trace: float
    """Sum of squares about the mean over the neurons of the layer, or those that are stored: trace(S)."""
    n_neurons: int
    """Of how many neurons that is."""

    @classmethod
    def of_whole(cls, inputs: Inputs, whole: Statistics) -> "Learned":
        """Return what the statistics of the whole layer tell."""
        return cls(inputs=inputs, whole=whole, n=whole.n, trace=float(whole.scatter.trace()), n_neurons=whole.width)

    @classmethod
    def of_gathered(cls, inputs: Inputs) -> "Learned":
        """Return what the stored neurons tell, in one pass over them."""
        n, squares = inputs.stored_squares()
        return cls(inputs=inputs, whole=None, n=n, trace=float(squares.sum()), n_neurons=len(squares))

    @property
    def mean_square(self) -> float:
        """Sum of squares of a neuron, on average: the mean eigenvalue of S."""
        return self.trace / self.n_neurons

    @property
    def mean_variance(self) -> float:
        """Variance of a neuron, on average, divided by n."""
        return self.trace / (self.n * self.n_neurons)

    def of(self, coordinates: Coordinates, solver: str) -> Statistics:
        """Return the statistics of coordinates.

        Raises
        ------
        InvalidProbe
            If they are too many neurons of a layer of which only some are stored.
        """
        if self.whole is not None:
            return coordinates.of(self.whole)
        refuse_many(self.inputs.train, coordinates.n, f"solver {solver}")
        return self.inputs.counted(coordinates)


def learned(inputs: Inputs, whole: Statistics | None) -> Learned:
    """Return what a solver is told, from the statistics of the whole layer where there are any."""
    if is_gathered(inputs.train):
        return Learned.of_gathered(inputs)
    assert whole is not None
    return Learned.of_whole(inputs, whole)
