"""`run_search.py spaces`."""

from __future__ import annotations

from nas.cli.options import make_console
from nas.errors import ArchitectureError


def spaces() -> None:
    """List the search spaces with their exact sizes, and the presets."""
    from rich.table import Table

    from nas.models.cost import network_cost
    from nas.space.architecture_files import load_architecture, preset_names
    from nas.space.space_files import load_space, space_names

    console = make_console()
    table = Table("space", "architectures", "blocks at 224", title="Search spaces", box=None)
    table.columns[1].justify = table.columns[2].justify = "right"
    for name in space_names():
        space = load_space(name)
        try:
            blocks = str(len(space.blocks()))
        except ArchitectureError:  # made for larger images
            blocks = "not at 224"
        table.add_row(name, f"{space.size:,}", blocks)
    console.print(table, "")
    table = Table("preset", "M parameters", "GMACs at 224", "id", title="Presets", box=None)
    table.columns[1].justify = table.columns[2].justify = "right"
    for name in preset_names():
        architecture = load_architecture(name)
        cost = network_cost(architecture.blocks())
        table.add_row(name, f"{cost.params / 1e6:.3f}", f"{cost.macs / 1e9:.2f}", architecture.id)
    console.print(table)
