"""Which tickers are ranked when the settings name none: the NASDAQ-100, and what a ticker may look like."""

import re
from collections.abc import Iterable

# Yahoo's own form: letters and digits, with a dot, dash, caret or equals sign inside (BRK-B, ^NDX, EURUSD=X).
TICKER = re.compile(r"\^?[A-Z0-9][A-Z0-9.=-]{0,14}")

# Members of the index as of 2026-06-22: 101 shares of 100 companies.
NASDAQ_100: tuple[str, ...] = tuple(
    """
    AAPL ABNB ADBE ADI ADP ADSK AEP ALAB ALNY AMAT AMD AMGN AMZN APP ARM ASML AVGO AXON BKNG BKR CCEP CDNS CEG CMCSA
    COST CPRT CRWD CRWV CSCO CSX CTAS DASH DDOG DXCM EA EXC FANG FAST FER FTNT GEHC GILD GOOG GOOGL HON IDXX INTC
    INTU ISRG KDP KHC KLAC LIN LITE LRCX MAR MCHP MDLZ MELI META MNST MPWR MRVL MSFT MSTR MU NBIS NFLX NVDA NXPI
    ODFL ORLY PANW PAYX PCAR PDD PEP PLTR PYPL QCOM REGN RKLB ROP ROST SBUX SHOP SNDK SNPS STX TER TMUS TRI TSLA
    TTWO TXN VRTX WBD WDAY WDC WMT XEL
    """.split()
)


def checked_tickers(tickers: Iterable[str]) -> tuple[str, ...]:
    """The tickers in alphabetical order, without repetition. Raises ValueError naming those that are no tickers."""
    unique = sorted(set(tickers))
    wrong = [ticker for ticker in unique if not TICKER.fullmatch(ticker)]
    if wrong:
        raise ValueError(f"no such ticker can exist: {', '.join(map(repr, wrong))}; they look like AAPL or BRK-B")
    return tuple(unique)
