"""Frameworks and logging services, one file each, over the tracker.

Each file imports its framework and nothing else that is heavy; import the one you use:

    from birthmark.integrations.lightning import TrackerCallback
    from birthmark.integrations.transformers import TrackerCallback
    from birthmark.integrations.keras import TrackerCallback
    from birthmark.integrations.jax import PytreeTracker
    from birthmark.integrations.peft import describe_adapters, effective_weights
    from birthmark.integrations.tensorboard import TensorBoardSink
    from birthmark.integrations.wandb import WandbSink
    from birthmark.integrations.trackio import TrackioSink
    from birthmark.integrations.mlflow import MlflowSink
    from birthmark.integrations.json_lines import JsonLinesSink
"""
