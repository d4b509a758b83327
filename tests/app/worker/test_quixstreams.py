"""The names of quixstreams that the worker leans on and that its authors may change."""

from __future__ import annotations

import inspect

import pytest
from quixstreams import Application
from quixstreams.app import ApplicationConfig
from quixstreams.checkpointing import Checkpoint
from quixstreams.dataframe import StreamingDataFrame
from quixstreams.internal_consumer import InternalConsumer
from quixstreams.internal_producer import InternalProducer
from quixstreams.kafka.consumer import BaseConsumer
from quixstreams.models.topics import TopicManager
from quixstreams.processing import ProcessingContext
from quixstreams.state.manager import StateStoreManager
from quixstreams.state.recovery import RecoveryManager, RecoveryPartition
from quixstreams.state.rocksdb import RocksDBStorePartition


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Application, "_on_assign"),
        (Application, "_on_revoke"),
        (Application, "_on_lost"),
        (Application, "_setup_signal_handlers"),
        (InternalProducer, "commit_transaction"),
        (RecoveryManager, "partitions"),
        (RecoveryPartition, "changelog_name"),
        (RecoveryPartition, "partition_num"),
        (Application, "_process_message"),
        (BaseConsumer, "_broker_available"),
        (Checkpoint, "expired"),
        (StateStoreManager, "get_store"),
        (RocksDBStorePartition, "iter_items"),
        (BaseConsumer, "assignment"),
        (Checkpoint, "get_store_transaction"),
        (InternalConsumer, "_poll_unbuffered"),
        (ProcessingContext, "commit_checkpoint"),
        (ProcessingContext, "store_offset"),
        (StreamingDataFrame, "register_store"),
        (TopicManager, "register"),
    ],
)
def test_what_the_worker_overrides_or_calls_is_there(owner: type, name: str) -> None:
    assert hasattr(owner, name)


def test_what_the_worker_reaches_for_is_set_where_it_looks() -> None:
    made = inspect.getsource(Application.__init__)
    for name in (
        "_consumer",
        "_processing_context",
        "_producer",
        "_state_manager",
        "_topic_manager",
    ):
        assert f"self.{name} = " in made
    assert "self._recovery_manager = " in inspect.getsource(StateStoreManager.__init__)


def test_a_hook_that_is_set_on_the_instance_is_what_a_commit_calls() -> None:
    from quixstreams.checkpointing import Checkpoint

    assert "self._producer.commit_transaction(" in inspect.getsource(Checkpoint.commit)
    assert "self._on_assign" in inspect.getsource(Application._run_dataframe)
    assert "self._setup_signal_handlers()" in inspect.getsource(Application.run)


def test_the_option_that_would_delete_state_has_the_name_we_switch_off() -> None:
    assert "auto_recover_from_source_offset_out_of_range" in ApplicationConfig.model_fields
