"""Making the bundled model: synthesis, hearing, emotion, evaluation."""
