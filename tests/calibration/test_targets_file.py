"""Targets from a file: what is read, and the one line that says what is wrong."""

import pytest

from diffgames.calibration.targets_file import read_targets
from diffgames.errors import InvalidInput

HEAD = "statistic,at,value,kind,weight\n"


def read(tmp_path, text):
    path = tmp_path / "targets.csv"
    path.write_text(text)
    return read_targets(path, 10.0, 100.0)


def test_a_file_is_read_to_targets_whose_last_cells_may_be_empty(tmp_path):
    rows = "share,,0.2,,\ntotal_share,,0.8,at least,2\npercentile,10,2,,.3\npercentile,90,8,,\n"
    rows += "flow,-.5,12,,\nflow,.5,4,,\n"
    share, total, sizes, flow = read(tmp_path, HEAD + rows)
    assert (share.kind, share.value, share.supertype, share.weight) == ("equal", (0.2,), 0, 1.0)
    assert (total.kind, total.supertype, total.weight) == ("at least", None, 2.0)
    assert (sizes.kind, sizes.at, sizes.value, sizes.weight) == ("percentiles", (0.1, 0.9), (2.0, 8.0), 0.3)
    assert (flow.at, flow.value, flow.weight) == ((-0.5, 0.5), (12.0, 4.0), pytest.approx(1 / 8))
    assert len(read(tmp_path, "statistic;value;at\nshare;0,2;\n".replace("0,2", "0.2"))) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "at least one row"),
        (HEAD, "below its header"),
        ("share,,0.2\n", "header with one column each"),
        ("statistic,at\nshare,1\n", "column each of value"),
        (HEAD.replace("weight", "wieght") + "share,,0.2,,\n", "wieght"),
        (HEAD + "shares,,0.2,,\n", "line 2.*did you mean 'share'"),
        (HEAD + "share,,1.2,,\n", "line 2.*from 0 to 1"),
        (HEAD + "share,,-0.1,,\n", "line 2.*from 0 to 1"),
        (HEAD + "share,,nan,,\n", "line 2.*a number"),
        (HEAD + "share,,0.2,,\nshare,,0.3,,\n", "line 3.*one row"),
        (HEAD + "share,,0.9,,\ntotal_share,,0.8,,\n", "line 2.*total share"),
        (HEAD + "share,,0.2,about,\n", "line 2.*equal or at least"),
        (HEAD + "share,,0.2,,0\n", "line 2.*weight > 0"),
        (HEAD + "percentile,10,5,,\npercentile,20,4,,\n", "line 3.*do not fall"),
        (HEAD + "percentile,20,5,,\npercentile,10,5,,\n", "line 3.*at rises"),
        (HEAD + "percentile,15,5,,\n", "line 2.*10, 20"),
        (HEAD + "percentile,10,-5,,\n", "line 2.*from 0 to 10 lots"),
        (HEAD + "percentile,10,11,,\n", "line 2.*largest trade"),
        (HEAD + "percentile,10,5,,1\npercentile,20,5,,2\n", "line 3.*one weight"),
        (HEAD + "percentile,10,5,at least,\n", "line 2.*kind equal"),
        (HEAD + "flow,0,5,,\n", "line 2.*two or more rows of flow"),
        (HEAD + "flow,0,5,,\nflow,1,500,,\n", "line 3.*all that takers trade"),
        (HEAD + "share,,0.2\n\nshare,,0.2,,\n", "5 columns"),
    ],
)
def test_what_is_no_target_is_refused_in_one_line(tmp_path, text, said):
    with pytest.raises(InvalidInput, match=said) as refused:
        read(tmp_path, text)
    assert "\n" not in str(refused.value)
