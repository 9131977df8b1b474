"""Hooks of the documentation site: pages that lie outside docs/, and links to them."""

import re
from pathlib import Path
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "project/CONTRIBUTING.md",
    "CHANGELOG.md": "project/CHANGELOG.md",
    "data/README.md": "project/data/README.md",
}
"""Pages of the project outside docs/, and their place in the site."""
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/ and every file outside docs/ that a page links to."""
    for source, target in PAGES.items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    pages = [ROOT / source for source in PAGES] + list((ROOT / "docs").rglob("*.md"))
    for path in sorted({linked for page in pages for linked in _linked_files(page)}):
        files.append(File.generated(config, _in_site(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at the places of their files in the site."""
    places = {target: source for source, target in PAGES.items()}
    source = places.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    folder = str(Path(page.file.src_uri).parent)

    def moved(link: re.Match[str]) -> str:
        path = _path_in_project(link[2], source)
        return link[0] if path is None else f"{link[1]}{relpath(_in_site(path), folder)}{link[3]}"

    return LINK.sub(moved, markdown)


def _path_in_project(link: str, source: str) -> str | None:
    """The path of a linked file below the project root; None for addresses and missing files."""
    path = normpath(f"{Path(source).parent.as_posix()}/{link}")
    return path if ":" not in link and (ROOT / path).is_file() else None


def _in_site(path: str) -> str:
    """The place in the site of a file of the project."""
    return PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else f"project/{path}")


def _linked_files(page: Path) -> set[str]:
    """Files outside docs/ that a page links to, other than pages of the site."""
    source = page.relative_to(ROOT).as_posix()
    found = {_path_in_project(link[2], source) for link in LINK.finditer(page.read_text(encoding="utf-8"))}
    return {path for path in found if path and path not in PAGES and not path.startswith("docs/")}
