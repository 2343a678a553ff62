"""Attacks on features as sent, and the gradient machinery behind them."""
