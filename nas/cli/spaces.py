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
    from nas.space.workload import Workload

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
    table = Table("preset", "M parameters", "GMACs", "at", "id", title="Presets", box=None)
    for column in table.columns[1:4]:
        column.justify = "right"
    for name in preset_names():
        architecture = load_architecture(name)
        side = 224 if architecture.stem_stride == 4 else 32
        cost = network_cost(architecture.blocks(Workload.square(side)))
        millions, giga = f"{cost.params / 1e6:.3f}", f"{cost.macs / 1e9:.3g}"
        table.add_row(name, millions, giga, str(side), architecture.id)
    console.print(table)
