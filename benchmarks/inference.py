"""Early and late cropping beside the plain backbone, fp32 and int8: ``python benchmarks/inference.py``.

All networks take turns on the same faces, for each number of threads and faces in a run; the best round of each
counts: faces a second, and time as a multiple of that of the plain backbone in fp32. Weights are random, unless
``--model`` gives files of one's own. ``benchmarks/peers/compare.py`` compares the whole of ``predict`` with other
libraries.
"""

import argparse
import tempfile
from pathlib import Path

from networks import cropped, made_faces, save_int8, save_network

from regionfer import ExpressionModel
from regionfer.pace import FACES, measure_pace

PLAIN = "plain, fp32"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=112, help="side of the networks' input, pixels")
    parser.add_argument("--stage", type=int, default=12, help="stage before which late cropping cuts")
    parser.add_argument("--crop-size", type=int, default=6, help="side of late crops, samples")
    parser.add_argument(
        "--model", action="append", default=[], help="also this model file, or one of those that ship; may be repeated"
    )
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    given = {path: ExpressionModel.load(path).source for path in arguments.model}
    recipes = {
        "plain": cropped(None, arguments.size),
        "late": cropped(arguments.stage, arguments.size, arguments.crop_size),
        "early": cropped(0, arguments.size),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = {f"{key}, fp32": save_network(recipe, folder / f"{key}.onnx") for key, recipe in recipes.items()}
        models |= {f"{key}, int8": save_int8(folder / f"{key}.onnx", folder / f"{key}-int8.onnx") for key in recipes}
        models |= given
        print(f"{arguments.size} px, late crops before stage {arguments.stage}; faces/s, and time / that of {PLAIN!r}")
        cases = [(threads, batch) for threads in (1, 2) for batch in (1, 32)]
        columns = {
            (threads, batch): measure_pace(
                models, PLAIN, made_faces(max(FACES, batch)), threads=threads, rounds=arguments.rounds, batch_size=batch
            )
            for threads, batch in cases
        }
    width = max(map(len, models))
    print(" " * width + "".join(f"{f'{threads} thread(s), batch {batch}':>24}" for threads, batch in cases))
    for name in models:
        cells = (columns[case][name] for case in cases)
        print(f"{name:{width}}" + "".join(f"{pace:15.0f} {cost:8.2f}" for pace, cost in cells))


if __name__ == "__main__":
    main()
