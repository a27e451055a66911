"""The software-defined assets, one a file, in the order of the flow; flow.py is what they declare alike."""
