"""Titles in the borders of boxes that are drawn several times a second."""

from textual.widget import Widget


def entitle(widget: Widget, title: str, subtitle: str = "") -> None:
    """Only what differs is set: setting a title draws the whole widget anew."""
    if (widget.border_title or "") != title:
        widget.border_title = title
    if (widget.border_subtitle or "") != subtitle:
        widget.border_subtitle = subtitle
