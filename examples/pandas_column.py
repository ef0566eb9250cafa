"""Two columns more for a data frame: the label of each text and its spam probability.

Run: python pandas_column.py messages.csv classified.csv
"""

import sys

import pandas as pd

from runtime import SpamClassifier


def classified(frame: pd.DataFrame, classifier: SpamClassifier, column: str = "text") -> pd.DataFrame:
    """A copy of the frame with the columns ``verdict`` and ``score``; missing texts count as empty."""
    verdicts = classifier.verdicts(frame[column].fillna(""))
    return frame.assign(verdict=[v.label for v in verdicts], score=[v.score for v in verdicts])


if __name__ == "__main__":
    source, target, *model = sys.argv[1:]
    classified(pd.read_csv(source), SpamClassifier(*model)).to_csv(target, index=False)
