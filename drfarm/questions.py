"""Useful questions to a store, each in SQL: ``drfarm query --examples`` shows them, and a test asks them all."""

from dataclasses import dataclass
from typing import Final

import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question."""

    asks: str
    """What it asks, in a sentence."""
    sql: str
    """How."""


QUESTIONS: Final[tuple[Question, ...]] = (
    Question(
        asks="How redundant is each layer at 90 % of its accuracy (Eq. 1), with the interval over seeds?",
        sql="""SELECT model, layer, dataset, method, dr, ci_low, ci_high, n_neurons, width
FROM redundancy
WHERE measure = 'accuracy' AND rule = 'strict' AND delta = 0.9
ORDER BY dr DESC NULLS LAST""",
    ),
    Question(
        asks="Where do the three rules of reading k* off a curve disagree?",
        sql="""PIVOT (SELECT * EXCLUDE (n_neurons, ci_low, ci_high) FROM redundancy)
ON rule IN ('strict', 'nearest', 'interpolated') USING first(dr)
GROUP BY model, layer, dataset, measure, solver, protocol, method, delta, width, train_id, test_id
ORDER BY abs(strict - nearest) DESC NULLS LAST
LIMIT 20""",
    ),
    Question(
        asks="What is the accuracy curve of each layer: mean, spread and number of seeds at every size?",
        sql="""SELECT model, layer, dataset, solver, protocol, method, n_neurons, round(fraction, 4) AS fraction,
       avg(accuracy) AS mean, stddev_samp(accuracy) AS spread, count(accuracy) AS seeds,
       left(train_id, 12) AS train, left(test_id, 12) AS test
FROM probes
GROUP BY ALL
ORDER BY ALL""",
    ),
    Question(
        asks="How much of the whole layer's accuracy does a tenth of its neurons keep?",
        sql="""WITH curve AS (
    SELECT model, layer, dataset, solver, protocol, method, train_id, test_id, width, n_neurons,
           avg(accuracy) AS accuracy
    FROM probes GROUP BY ALL
)
SELECT part.model, part.layer, part.dataset, part.solver, part.method, part.n_neurons, part.width,
       part.accuracy / whole.accuracy AS share
FROM curve AS part JOIN curve AS whole
    USING (model, layer, dataset, solver, protocol, method, train_id, test_id, width)
WHERE whole.n_neurons = width AND part.n_neurons <= 0.1 * width
QUALIFY row_number() OVER (PARTITION BY train_id, test_id, part.solver, part.protocol, part.method
                           ORDER BY part.n_neurons DESC) = 1
ORDER BY share DESC""",
    ),
    Question(
        asks="How alike are a subset and its whole layer (CKA), and two subsets of one size?",
        sql="""SELECT model, layer, dataset, kind, method, n_neurons, avg(value) AS cka, count(value) AS n,
       left(test_id, 12) AS test
FROM cka
WHERE estimator = 'biased'
GROUP BY ALL
ORDER BY ALL""",
    ),
    Question(
        asks="Which classes lose most when only a few neurons are kept?",
        sql="""WITH classes AS (
    SELECT model, layer, dataset, solver, protocol, method, train_id, test_id, n_neurons,
           unnest(range(len(class_accuracy))) AS class, unnest(class_accuracy) AS accuracy
    FROM probes WHERE class_accuracy IS NOT NULL
), means AS (
    SELECT * EXCLUDE accuracy, avg(accuracy) AS accuracy FROM classes GROUP BY ALL
)
SELECT model, layer, dataset, solver, protocol, method, class,
       min_by(accuracy, n_neurons) AS fewest_neurons, max_by(accuracy, n_neurons) AS most_neurons,
       most_neurons - fewest_neurons AS lost
FROM means
GROUP BY model, layer, dataset, solver, protocol, method, train_id, test_id, class
ORDER BY lost DESC
LIMIT 20""",
    ),
    Question(
        asks="Which probes did not converge, or have no value?",
        sql="""SELECT model, layer, dataset, solver, protocol, method, seed, n_neurons, accuracy, converged,
       gradient_norm
FROM probes
WHERE accuracy IS NULL OR NOT converged
ORDER BY ALL""",
    ),
    Question(
        asks="Does one name stand for several representations, so that their rows must not be averaged?",
        sql="""SELECT model, layer, dataset, count(DISTINCT (train_id, test_id)) AS representations,
       list(DISTINCT left(test_id, 12)) AS test_ids
FROM probes
GROUP BY ALL
HAVING representations > 1""",
    ),
    Question(
        asks="What is stored, and what does it take?",
        sql="""SELECT model, dataset, split, count(*) AS layers, sum(n_samples) AS rows, sum(bytes) / 2**20 AS mib,
       bool_and(complete) AS complete
FROM representations
GROUP BY ALL
ORDER BY mib DESC""",
    ),
    Question(
        asks="Which curves are not finished: how many sizes and seeds does each have?",
        sql="""SELECT model, layer, dataset, solver, protocol, method, count(DISTINCT seed) AS seeds,
       count(DISTINCT n_neurons) AS sizes, count(*) AS probes, max(n_neurons) = max(width) AS has_whole_layer
FROM probes
GROUP BY model, layer, dataset, solver, protocol, method, train_id, test_id
ORDER BY probes""",
    ),
    Question(
        asks="Where did the time go: seconds by kind and worker?",
        sql="""SELECT kind, worker, count(*) AS batches, sum(n_jobs) AS results, sum(elapsed_s) AS seconds,
       min(started_at) AS first, max(finished_at) AS last
FROM timings
GROUP BY kind, worker
ORDER BY seconds DESC NULLS LAST""",
    ),
    Question(
        asks="What failed, and why?",
        sql="""SELECT study, stage, what, error, attempts, failed_at
FROM failures
ORDER BY failed_at DESC""",
    ),
)
"""All of them, the most asked first."""


def questions_text(questions: tuple[Question, ...] = QUESTIONS) -> str:
    """Return the questions with their SQL, as a file that ``drfarm query -f`` can take pieces of."""
    return "\n\n".join(f"-- {i}. {q.asks}\n{q.sql};" for i, q in enumerate(questions, 1))


def questions_table() -> pa.Table:
    """Return the questions as a table: what they ask, and their SQL."""
    return pa.table({"asks": [q.asks for q in QUESTIONS], "sql": [q.sql for q in QUESTIONS]})
