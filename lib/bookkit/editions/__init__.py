"""The chapters for readers who leave the book: the student's and the teacher's notebooks, and Colab."""
