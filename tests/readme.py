"""The README's transcript is what the demo prints: same lines, same order, numbers aside.

Usage: readme.py README.md OUTPUT_OF_THE_DEMO
"""

import re
import sys


def masked(line):
    """A line without what differs from run to run: numbers, units, hexadecimal, padding."""
    line = re.sub(r"\d+(\.\d+)?", "#", line.rstrip())
    line = re.sub(r"# (ns|µs|ms|s)\b", "# t", line)
    return re.sub(r" +", " ", line).strip()


def transcript(readme):
    block = re.search(r"```text\n(.*?)```", readme, re.S)
    return [line for line in block.group(1).splitlines() if line.strip()]


def main(readme_path, output_path):
    with open(readme_path, encoding="utf-8") as file:
        promised = transcript(file.read())
    with open(output_path, encoding="utf-8") as file:
        printed = iter([masked(line) for line in file])
    for line in promised:
        if masked(line) not in printed:  # consumes the iterator, so order counts
            sys.exit(f"the README promises a line that the demo did not print here:\n{line}")
    print(f"the README's {len(promised)} lines are what the demo printed")


main(*sys.argv[1:])
