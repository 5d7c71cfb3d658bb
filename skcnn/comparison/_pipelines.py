"""The pipelines to begin with."""


def default_pipelines():
    return {}
