"""The demo model of runnel: corpus, tokenizer, network, training, export and evaluation."""
