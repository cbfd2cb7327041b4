"""Plausible wrong answers to the exercises of chapters 4 and 7: code that sets `answer`, and how the check's message begins.

The checks of these chapters still stand in their notebooks, so the code runs there and may use what the notebook
holds, the check's cell included. Those of chapters 1, 2, 3, 5 and 6 are functions of `successor_heads.exercises`, which
test_exercises.py calls with wrong answers of their own; the other chapters follow as they are rewritten.
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
    # Chapter 7
    "ex-thirty": [
        ("answer = 1.0", "That is the share that was seen"),
        ("answer = 0.9", "That is the rule of three"),
    ],
    "ex-backwards": [
        ("answer = (0.99, 0.01)", "This head counts forwards"),
        ("answer = (0.99, 0.99)", "Both cannot be"),
        ("answer = (0.01, 0.01)", "It does neither"),
    ],
    "ex-six": [
        ("answer = [6]", "What about the divisors of 6?"),
        ("answer = [2, 5, 10]", "There is no ten in this plant"),
        ("answer = [2, 3, 6, 12]", "12 can be read better than chance"),
    ],
    "ex-pairs": [
        ("answer = {pair[0], (0, 0)}", "One of the two is right"),
        ("answer = {(0, 0)}", "Answer with two places"),
        ("answer = {place[::-1] for place in pair}", "Right numbers, wrong order"),
    ],
}

# What a check says on other models only.
OUT_OF_REACH = {
    "ex-crossing": ["That is where it wins against the whole class"],  # here the first edit never does
}
