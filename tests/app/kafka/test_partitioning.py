"""Our murmur2 is Kafka's."""

from __future__ import annotations

from app.kafka.partitioning import murmur2, partition_of


def test_the_hash_is_that_of_kafka_s_own_tests() -> None:
    # org.apache.kafka.common.utils.UtilsTest.testMurmur2
    known = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }
    assert {data: murmur2(data) for data in known} == {k: v % 2**32 for k, v in known.items()}


def test_a_key_s_partition_is_one_there_is() -> None:
    assert {partition_of(str(n).encode(), 3) for n in range(100)} == {0, 1, 2}
    assert partition_of(b"foobar", 1) == 0
