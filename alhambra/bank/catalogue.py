"""List what the demonstration bank's clients can hold: sixty-three instruments, the rates and the benchmark.

The companies and the factor ETFs are real, with their real history. The other ETFs, the funds and the
terms of the bonds are invented, and their histories are made as their rows say. `income` is the yearly
dividend, distribution or coupon in percent, in round figures.
"""

from __future__ import annotations

from collections.abc import Iterator

# Symbol, name, sector, income, exchange. In US dollars, on real history.
EQUITIES = """
AAPL | Apple                  | Information Technology | 0.5 | XNAS
AMD  | Advanced Micro Devices | Information Technology | 0   | XNAS
BAC  | Bank of America        | Financials             | 2.4 | XNYS
BBY  | Best Buy               | Consumer Discretionary | 4.0 | XNYS
CVX  | Chevron                | Energy                 | 3.8 | XNYS
GE   | General Electric       | Industrials            | 0.4 | XNYS
HD   | Home Depot             | Consumer Discretionary | 2.4 | XNYS
JNJ  | Johnson & Johnson      | Health Care            | 2.6 | XNYS
JPM  | JPMorgan Chase         | Financials             | 2.8 | XNYS
KO   | Coca-Cola              | Consumer Staples       | 2.8 | XNYS
LLY  | Eli Lilly              | Health Care            | 1.2 | XNYS
MRK  | Merck                  | Health Care            | 2.8 | XNYS
MSFT | Microsoft              | Information Technology | 0.9 | XNAS
PEP  | PepsiCo                | Consumer Staples       | 2.6 | XNAS
PFE  | Pfizer                 | Health Care            | 3.2 | XNYS
PG   | Procter & Gamble       | Consumer Staples       | 2.4 | XNYS
RRC  | Range Resources        | Energy                 | 0.6 | XNYS
UNH  | UnitedHealth           | Health Care            | 1.2 | XNYS
WMT  | Walmart                | Consumer Staples       | 1.6 | XNAS
XOM  | Exxon Mobil            | Energy                 | 3.6 | XNYS
"""

# Symbol, name, income. In US dollars, on real history.
FACTOR_ETFS = """
MTUM | iShares MSCI USA Momentum Factor ETF | 1.2
QUAL | iShares MSCI USA Quality Factor ETF  | 1.2
SIZE | iShares MSCI USA Size Factor ETF     | 1.4
USMV | iShares MSCI USA Min Vol Factor ETF  | 1.6
VLUE | iShares MSCI USA Value Factor ETF    | 2.6
"""

# Symbol, name, sector, country, currency, coupon, duration in years, first price in percent. Terms invented.
BONDS = """
UST28  | US Treasury 4.00% 2028                  | Government | US | USD | 4.00 | 2.2  | 99.6
UST34  | US Treasury 4.25% 2034                  | Government | US | USD | 4.25 | 6.9  | 98.4
JNJ36  | Johnson & Johnson 3.55% 2036            | Corporate  | US | USD | 3.55 | 8.1  | 92.7
MSFT35 | Microsoft 3.90% 2035                    | Corporate  | US | USD | 3.90 | 7.6  | 97.1
DE33   | Federal Republic of Germany 2.30% 2033  | Government | DE | EUR | 2.30 | 6.4  | 98.9
FR30   | French Republic 2.75% 2030              | Government | FR | EUR | 2.75 | 3.7  | 99.8
KO31   | Coca-Cola 3.10% 2031                    | Corporate  | US | EUR | 3.10 | 4.5  | 100.2
UK31   | United Kingdom Gilt 4.00% 2031          | Government | GB | GBP | 4.00 | 4.6  | 97.9
UK43   | United Kingdom Gilt 4.75% 2043          | Government | GB | GBP | 4.75 | 11.3 | 96.3
CH32   | Swiss Confederation 0.50% 2032          | Government | CH | CHF | 0.50 | 5.8  | 97.8
PG29   | Procter & Gamble 1.25% 2029             | Corporate  | US | CHF | 1.25 | 2.9  | 99.5
AE30   | United Arab Emirates Treasury 4.10% 2030 | Government | AE | AED | 4.10 | 3.6  | 100.4
"""

# Symbol, name (after the bank's own), class, sector, country of domicile, currency, first price, income, basket in
# percent.
BASKETS = """
AB500 | S&P 500 Tracker            | etf  | Diversified | IE | USD | 366.25 | 1.4 | SP500 100
AWLD  | World Leaders ETF          | etf  | Diversified | IE | USD | 84.10  | 1.5 | SP500 60 MTUM 20 VLUE 20
ATEC  | Technology ETF             | etf  | Information Technology | IE | USD | 61.40  | 0   | AAPL 40 MSFT 40 AMD 20
AENR  | Energy ETF                 | etf  | Energy | IE | USD | 32.75  | 3.2 | XOM 45 CVX 40 RRC 15
AHLT  | Health Care ETF            | etf  | Health Care | IE | CHF | 47.20  | 1.8 | JNJ 30 LLY 25 MRK 25 PFE 20
AMCH  | Momentum ETF               | etf  | Diversified | IE | CHF | 55.60  | 0   | MTUM 100
ASTP  | Consumer Staples ETF       | etf  | Consumer Staples | IE | EUR | 39.90  | 2.2 | PG 30 KO 25 PEP 25 WMT 20
ALVE  | Low Volatility ETF         | etf  | Diversified | IE | EUR | 72.30  | 1.4 | USMV 80 QUAL 20
AFIN  | Financials ETF             | etf  | Financials | IE | GBP | 28.15  | 2.4 | JPM 60 BAC 40
AVUK  | Value ETF                  | etf  | Diversified | IE | GBP | 44.85  | 2.2 | VLUE 100
AGLE  | Global Equity Fund EUR     | fund | Diversified | LU | EUR | 151.30 | 0   | SP500 50 QUAL 30 SIZE 20
AGLG  | Global Equity Fund GBP     | fund | Diversified | LU | GBP | 128.70 | 0   | SP500 50 QUAL 30 SIZE 20
ASBC  | Balanced Fund CHF          | fund | Multi-Asset | CH | CHF | 112.40 | 1.0 | SP500 45 CH32 30 PG29 25
AMAE  | Multi-Asset Fund EUR       | fund | Multi-Asset | LU | EUR | 106.80 | 1.2 | SP500 35 VLUE 10 DE33 30 FR30 25
AEID  | Equity Income Fund AED     | fund | Diversified | AE | AED | 96.50  | 3.4 | XOM 30 JPM 25 PG 25 KO 20
AGRD  | Growth Fund AED            | fund | Diversified | AE | AED | 143.20 | 0   | MSFT 35 LLY 25 HD 20 UNH 20
ADIV  | Dividend Fund USD          | fund | Diversified | LU | USD | 118.60 | 3.0 | KO 20 PEP 20 PG 20 JNJ 20 XOM 20
ASCU  | Smaller Companies Fund USD | fund | Diversified | LU | USD | 104.90 | 1.1 | SIZE 85 RRC 5 BBY 10
"""

# Symbol, name, first price, last price, standard deviation of a day in percent. In US dollars, and of no country. No
# package that is installed has a real history of them: it is invented, until a feed brings the venue's own closes.
CRYPTO_ASSETS = """
BTC/USD | Bitcoin | 62000 | 91000 | 2.4
ETH/USD | Ether   | 2600  | 3050  | 3.2
SOL/USD | Solana  | 150   | 140   | 4.0
"""
NO_COUNTRY = "ZZ"  # what the Unicode names of regions call an unknown one

# Symbol (the currency), name, country.
CASH = """
USD | US dollar      | US
EUR | Euro           | EU
GBP | Pound sterling | GB
CHF | Swiss franc    | CH
AED | UAE dirham     | AE
"""

# Symbol, name, country, tick: units of the second currency for one of the first.
RATES = """
EUR/USD | Euro in US dollars           | EU | 0.00001
GBP/USD | Pound sterling in US dollars | GB | 0.00001
USD/CHF | US dollar in Swiss francs    | US | 0.00001
USD/AED | US dollar in UAE dirhams     | US | 0.0001
"""


# Where it would trade by its currency: what is invented, or traded over the counter, is listed nowhere. The exchanges
# of the Emirates have no calendar that we know of: what trades there goes by weekdays.
EXCHANGES = {"USD": "XNYS", "EUR": "XETR", "GBP": "XLON", "CHF": "XSWX", "AED": "24/5"}
FACTOR_ETF_EXCHANGE = "BATS"
FX_EXCHANGE = "24/5"
CRYPTO_EXCHANGE = "24/7"

# The index of the day, and new shares for one old. Both are invented, in the first weeks of the history.
SPLITS = {"ATEC": (14, "2"), "GE": (17, "0.125")}

# What the accounts of the strategy Conviction sell short, and the share of their deposit; it pays no dividend.
SHORT_SYMBOL, SHORT_SHARE = "AMD", "0.05"


def rows(table: str) -> Iterator[list[str]]:
    """Yield the cells of each line of a table above."""
    for line in table.strip().splitlines():
        yield [cell.strip() for cell in line.split("|")]


def parse_basket(text: str) -> dict[str, float]:
    """Return the weight, as a fraction, of each component of a basket such as `KO 20 PEP 80`."""
    words = text.split()
    return {symbol: float(percent) / 100 for symbol, percent in zip(words[::2], words[1::2], strict=True)}
