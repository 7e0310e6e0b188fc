"""From the bytes of an image file to pixels, or to an error that names the file."""

import io

from PIL import Image

from extract.errors import CorruptSample


def decode_image(content: bytes, *, name: str) -> Image.Image:
    """Decode an image file wholly; a lazy decode would fail later, where nobody knows the name.

    Raises
    ------
    CorruptSample
        If the content is no image, is cut short, or is larger than Pillow is willing to decode.
    """
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except Exception as e:  # decoders raise OSError, SyntaxError, ValueError, struct.error and others
        raise CorruptSample(
            f"{name} can't be decoded ({type(e).__name__}: {_plain(e)}). Replace or remove the file, or set "
            "on_corrupt: mask to keep its row and leave it out of every measure."
        ) from e
    return image


def _plain(e: Exception) -> str:
    # Pillow's message holds the address of our buffer, which differs from run to run.
    return "the bytes are no image that Pillow knows" if "BytesIO" in str(e) else str(e)
