"""`pop_window`, the probability of profit as first asked for. `p_profit` is calibrated in calibration.py."""

import numpy as np

from stockpick_assets.core.grid import Matrix, lagged

WINDOW_MINUTES = 5


def pop_window(change_day: Matrix) -> Matrix:
    """Where the current record stands among those of the five clock minutes before it: 1/records to 1.

    change_day: minutes of one session × tickers, the bar's change against the previous session's last close; NaN where
    there is no record. Of the window's records, oldest first, the answer is the position, counted from 1, of the one
    closest to the current record (the later on a tie), over their number; NaN without a window or current record.
    """
    records, position = np.zeros(change_day.shape), np.full(change_day.shape, np.nan)
    closest = np.full(change_day.shape, np.inf)
    for minutes in range(WINDOW_MINUTES, 0, -1):
        # A cent above and a cent below are as close, but differ in the last bit: 12 decimals make them equal.
        distance = np.round(np.abs(lagged(change_day, minutes) - change_day), 12)
        records += ~np.isnan(distance)
        closer = distance <= closest
        position[closer], closest[closer] = records[closer], distance[closer]
    return np.divide(position, records, out=np.full(change_day.shape, np.nan), where=records > 0)
