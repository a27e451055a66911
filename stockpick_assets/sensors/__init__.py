"""What starts runs and sends messages by itself: thin effects of decisions that core/ makes."""
