"""What earlier studies on such worlds saw again and again, looked for here. The order of methods is none of it: it
changed with the student's pretraining."""

from typing import Any

# The signal that the weight is of 'the main object is in the crop', as area under the ROC curve.
LEAST_AUC = 0.9


def replicated(summary: list[dict[str, Any]], regions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each claim with the numbers that decide on it, as JSON.

    Weights help where crops are small and no word is shared: FDBPL less KDPL is more than two standard errors above
    zero. The weight tells crops that show the main object from others: among ordinary crops its AUC is over 0.9 (small
    ones show all too often a part of it that is hard to tell).
    """
    return [
        *(
            {
                "claim": "weights help at small crops in grid",
                "teacher": row["teacher"],
                "shots": row["shots"],
                **{key: row[key] for key in ("paired_difference", "standard_error", "students_above", "num_students")},
                "holds": row["is_clear"] and row["paired_difference"] > 0,
            }
            for row in summary
            if (row["row"], row["split"], row["crops"]) == ("fdbpl", "grid", "small")
        ),
        *(
            {
                "claim": "the weight is a region signal",
                **{key: region[key] for key in ("split", "crops", "teacher", "auc")},
                "holds": region["auc"] is not None and region["auc"] > LEAST_AUC,
            }
            for region in regions
            if region["crops"] == "ordinary"
        ),
    ]
