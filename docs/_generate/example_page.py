"""The page of the study files that people start from."""

from pathlib import Path


def example_page(folder: Path) -> str:
    """Return a page with every study file of a folder."""
    parts = ["# Example studies", "Copy one and change it; the lines at its head say what it needs."]
    for file in sorted(folder.glob("*.yaml")):
        parts.append(f"## {file.name}\n\n```yaml\n{file.read_text(encoding='utf-8').rstrip()}\n```")
    return "\n\n".join(parts) + "\n"
