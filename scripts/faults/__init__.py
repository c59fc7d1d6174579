"""The kinds of trial of `scripts/fault_campaign.py`."""
