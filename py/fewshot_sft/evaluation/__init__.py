"""One evaluation: the questions, the client, the answers, the scores."""
