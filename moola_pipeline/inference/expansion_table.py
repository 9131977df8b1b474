"""The table of found expansions and alarms: its columns, without the code that finds them."""

from moola_pipeline.bars.schema import Column

EXPANSION_TABLE = (
    Column("window_start", "datetime64[ns, UTC]", "open of bar 0 of the window that was read, UTC"),
    Column("started_at", "datetime64[ns, UTC]", "open of the first bar of the expansion, UTC"),
    Column(
        "ended_at", "datetime64[ns, UTC]", "open of its last bar, UTC; missing in an alarm", nullable=True
    ),
    Column("decided_at", "datetime64[ns, UTC]", "open of the last bar that the model had read, UTC"),
    Column("direction", "str", "up or down"),
    Column("probability", "float32", "probability that it is an expansion, 0 to 1"),
    Column("label", "str", "type: consolidation or retracement before it"),
    Column("p_retracement", "float32", "calibrated probability that the type is retracement, 0 to 1"),
    Column("mode", "str", "hindsight: an expansion in a whole window; live: an alarm at a closed bar"),
    Column("model_version", "str", "version in the registry"),
)
EXPANSION_COLUMNS = tuple(column.name for column in EXPANSION_TABLE)
EXPANSION_DTYPES = {column.name: column.dtype for column in EXPANSION_TABLE}
"""As stored; predictions are float64 until then."""
