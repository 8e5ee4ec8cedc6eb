"""Files in SQuAD's form, of questions that a pattern answers."""

import json
import random

_ANIMALS = ["cat", "dog", "cow", "horse", "sheep", "goat", "duck", "mouse"]
_PLACES = ["barn", "garden", "kitchen", "river", "tree", "house", "road", "field"]


def make_squad(questions: int, seed: int = 0, impossible: bool = False) -> dict:
    """Questions where an animal is; with `impossible`, of every third one nothing is said.

    A passage says so of three animals, in sentences between which there are others.
    """
    rng = random.Random(seed)
    paragraphs = []
    for number in range(questions):
        animals, places = rng.sample(_ANIMALS, 4), rng.sample(_PLACES, 3)
        sentences = [
            f"The {animal} is in the {place}."
            for animal, place in zip(animals, places, strict=False)
        ]
        context = "  It was a long and lovely day, and nobody was sad at all.\n".join(sentences)
        asked = rng.randrange(3)
        entry: dict = {"id": f"q{seed}-{number}", "question": f"Where is the {animals[asked]}?"}
        if impossible and number % 3 == 2:
            entry["question"] = f"Where is the {animals[3]}?"
            entry |= {"answers": [], "is_impossible": True}
        else:
            text = f"in the {places[asked]}"
            entry["answers"] = [{"text": text, "answer_start": context.index(text)}]
        paragraphs.append({"context": context, "qas": [entry]})
    return {"version": "made", "data": [{"title": "Animals", "paragraphs": paragraphs}]}


def write_squad(path, *args, **options):
    """`make_squad` as a file; returns its path."""
    path.write_text(json.dumps(make_squad(*args, **options)))
    return path
