"""The numbers of a run as a Markdown table."""

from typing import Any

GIB = 2**30
HEAD = "| path | dtype | median s | limit s | ratio | first answer s | loaded s | peak GiB | tensors GiB | one by one |"


def table(found: dict[str, Any]) -> str:
    """ratio: median / limit. tensors: training only, see `peak_of_tensors`. one by one: baseline / median."""
    setting = "{arch}, {size} px, batch {batch}, beam {beam}, {device}, {threads} threads, median of {runs}".format(
        **found["setting"]
    )
    lines = [setting, ""]
    if found["rows"]:
        lines += [HEAD, "|---|---|" + "---:|" * 8]
        lines += [_line(row) for row in found["rows"]]
        lines += ["", *dict.fromkeys(_machine(row) for row in found["rows"][:2])]
    if "dataset" in found:
        rates = (
            "Data: {rows_per_s:.0f} rows/s in one process; loader with one worker {rows_per_s_1_workers:.0f}, "
            "with two {rows_per_s_2_workers:.0f} ({scaling:.2f} of twice)."
        )
        lines += ["", rates.format(**found["dataset"])]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    numbers = [
        f"{row['seconds']:.3f}",
        f"{row['limit_s']:.3f}",
        f"{row['seconds'] / row['limit_s']:.2f}",
        f"{row['whole_s']:.1f}",
        f"{row['loaded_s']:.1f}",
        f"{row['peak_bytes'] / GIB:.2f}",
        f"{row['tensors_peak_bytes'] / GIB:.2f}" if "tensors_peak_bytes" in row else "",
        f"{row['baseline_s'] / row['seconds']:.2f}" if "baseline_s" in row else "",
    ]
    return f"| {row['case']} | {row['dtype']} | " + " | ".join(numbers) + " |"


def _machine(row: dict[str, Any]) -> str:
    return (
        f"Machine, {row['dtype']}: {row['machine_flops'] / 1e9:.0f} GFLOP/s, "
        f"{row['machine_bandwidth'] / 1e9:.1f} GB/s read."
    )
