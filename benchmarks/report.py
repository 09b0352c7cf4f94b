"""The numbers of a run as a table."""

from typing import Any

GIB = 2**30
HEAD = "| path | dtype | median s | limit s | ratio | first answer s | loaded s | peak GiB | tensors GiB | one by one |"


def table(found: dict[str, Any]) -> str:
    """Markdown. ratio: median over limit. tensors: of a training, see `peak_of_tensors`.

    one by one: the time of the same answers asked alone, over this time.
    """
    setting = found["setting"]
    lines = [
        f"{setting['arch']}, {setting['size']} px, {setting['device']}, {setting['threads']} threads, "
        f"median of {setting['runs']}",
        "",
    ]
    if found["rows"]:
        lines += [HEAD, "|---|---|" + "---:|" * 8]
        lines += [_line(row) for row in found["rows"]]
        lines += ["", *dict.fromkeys(_machine(row) for row in found["rows"][:2])]
    if "dataset" in found:
        rates = found["dataset"]
        lines += [
            "",
            f"Data: {rates['rows_per_s']:.0f} rows/s in one process; loader with one worker "
            f"{rates['rows_per_s_1_workers']:.0f}, with two {rates['rows_per_s_2_workers']:.0f} "
            f"({rates['scaling']:.2f} of twice).",
        ]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    alone = f"{row['baseline_s'] / row['seconds']:.2f}" if "baseline_s" in row else ""
    numbers = [
        f"{row['seconds']:.3f}",
        f"{row['limit_s']:.3f}",
        f"{row['seconds'] / row['limit_s']:.2f}",
        f"{row['whole_s']:.1f}",
        f"{row['loaded_s']:.1f}",
        f"{row['peak_bytes'] / GIB:.2f}",
        f"{row['tensors_peak_bytes'] / GIB:.2f}" if "tensors_peak_bytes" in row else "",
        alone,
    ]
    return f"| {row['case']} | {row['dtype']} | " + " | ".join(numbers) + " |"


def _machine(row: dict[str, Any]) -> str:
    return (
        f"Machine, {row['dtype']}: {row['machine_flops'] / 1e9:.0f} GFLOP/s, "
        f"{row['machine_bandwidth'] / 1e9:.1f} GB/s read."
    )
