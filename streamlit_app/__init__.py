"""The app: what the tables say, shown. It writes nothing, and trades nothing.

app.py is the gate and the navigation, data.py the only reader of settings, clock and tables, rows.py, trust.py and
charts.py turn rows into what is shown, strip.py is the first line of every page, views/ holds one page a file. (The
folder is not called pages: Streamlit would serve a deep link to such a page without app.py, and so without the gate.)
"""
