"""Plausible wrong answers to the exercises of chapter 4: code that sets `answer`, and how the check's message begins.

The checks of this chapter still stand in its notebook, so the code runs there and may use what the notebook
holds, the check's cell included. Those of the other chapters are functions of `successor_heads.exercises`, which
test_exercises.py calls with wrong answers of their own; chapter 4 follows when it is rewritten.
"""

WRONG = {
    # Chapter 4
    "ex-crossing": [
        ("answer = -crossing(by_hand[0])", "The sign is wrong"),
        ("answer = 1 / crossing(by_hand[0])", "Upside down"),
        ("answer = None", "The two lines do cross"),
    ],
    "ex-luck": [
        ("answer = 1 / 10", "That is the share of tens"),
        ("answer = 1 / 200", "That is a guess among all numbers"),
        ("answer = 20", "So many there are"),
        ("answer = 5", "A share is between 0 and 1"),
    ],
    "ex-chosen": [
        ('answer = (price("random, in the span"), price(SOURCE))', "Right numbers, wrong order"),
        ("answer = (-0.2, -0.1)", "In hindsight nobody does worse"),
        (
            'answer = (macro_curve[SOURCE, "exact"].groupby("k").mean().max() - macro_exact[SOURCE], 0.5)',
            "That is the best single k",
        ),
    ],
    "ex-tens": [
        ("answer = moved_tens(1.0)", "That is scale 1"),
        ("answer = moved_tens(-2.0)", "You moved it down"),
        ("answer = 9 * moved_tens(2.0)", "That is the sum over the members"),
        ("answer = moved_tens(2.0) + lead_before()", "That is the lead after the edit"),
    ],
    "ex-seven-edits": [
        ("answer = on_sevens()[::-1]", "Right numbers, wrong order"),
        ("answer = (0.2, 0.0)", "Modulus 7 should succeed"),
        ("answer = (1.0, 0.9)", "Modulus 10 should fail here"),
    ],
}

# What a check says on other models only.
OUT_OF_REACH = {
    "ex-crossing": ["That is where it wins against the whole class"],  # here the first edit never does
}
