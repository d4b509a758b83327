package peers;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Map;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TimeWindowedKStream;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.Stores;

/** Tumbling windows per tag in Kafka Streams' DSL: final results, one record an asset and window. */
public final class Dsl {
    /** The samples of a block that belong to one window. */
    record Part(Block block, long start, long end) {}

    /** Blocks span windows now and then: one record a window, timed within it. */
    static final class Split extends ContextualFixedKeyProcessor<String, Block, Part> {
        private final long size;

        Split(long size) {
            this.size = size;
        }

        @Override
        public void process(FixedKeyRecord<String, Block> record) {
            Block block = record.value();
            long first = Long.MAX_VALUE;
            long last = Long.MIN_VALUE;
            for (int i = 0; i < block.size; i++) {
                first = Math.min(first, block.t[i]);
                last = Math.max(last, block.t[i]);
            }
            for (long start = Math.floorDiv(first, size) * size; start <= last; start += size) {
                long newest = Long.MIN_VALUE;
                for (int i = 0; i < block.size; i++) {
                    long t = block.t[i];
                    if (t >= start && t < start + size) newest = Math.max(newest, t);
                }
                if (newest != Long.MIN_VALUE) {
                    context().forward(record.withValue(new Part(block, start, start + size))
                            .withTimestamp(Math.floorDiv(newest, 1_000_000L)));
                }
            }
        }
    }

    /** Heartbeats become null. */
    static final class BlockReader implements Deserializer<Block> {
        @Override
        public Block deserialize(String topic, byte[] payload) {
            return payload == null ? null : new Block().read(payload);
        }

        @Override
        public Block deserialize(String topic, Headers headers, byte[] payload) {
            return Block.isHeartbeat(headers) ? null : deserialize(topic, payload);
        }
    }

    static Serde<Tags> tagsSerde() {
        return Serdes.serdeFrom(
                (topic, tags) -> {
                    if (tags == null) return null;
                    ByteBuffer bytes = ByteBuffer.allocate(tags.bytes());
                    tags.put(bytes);
                    return bytes.array();
                },
                (topic, bytes) -> bytes == null ? null : Tags.get(ByteBuffer.wrap(bytes)));
    }

    public static void main(String[] args) throws Exception {
        Job job = Job.of(args[0]);
        boolean suppress = job.more().get("final").asText().equals("suppress");
        Duration size = Duration.ofNanos(job.sizeNs());
        Duration grace = Duration.ofNanos(job.graceNs());
        Serde<Block> blocks = Serdes.serdeFrom((topic, block) -> null, new BlockReader());
        Serde<Part> never = Serdes.serdeFrom((topic, part) -> null, (topic, bytes) -> null);

        StreamsBuilder builder = new StreamsBuilder();
        TimeWindowedKStream<String, Part> windowed = builder
                .stream(job.source(), Consumed.with(Serdes.String(), blocks))
                .filter((asset, block) -> block != null)
                .processValues(() -> new Split(job.sizeNs()))
                .groupByKey(Grouped.with(Serdes.String(), never))
                .windowedBy(TimeWindows.ofSizeAndGrace(size, grace));
        if (!suppress) windowed = windowed.emitStrategy(EmitStrategy.onWindowClose());
        KTable<Windowed<String>, Tags> table = windowed.aggregate(
                Tags::new,
                (asset, part, tags) -> {
                    tags.add(part.block(), part.start(), part.end());
                    return tags;
                },
                // Longer than any window is open: at full speed many minutes of event time go by between
                // two flushes of the cache.
                Materialized.<String, Tags>as(Stores.inMemoryWindowStore(
                                "windows", Duration.ofHours(1), size, false))
                        .withKeySerde(Serdes.String())
                        .withValueSerde(tagsSerde())
                        .withLoggingEnabled(Map.of())
                        .withCachingEnabled());
        if (suppress) {
            table = table.suppress(
                    Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()));
        }
        table.toStream()
                .map((window, tags) -> KeyValue.pair(window.key(),
                        tags.json(window.key(), window.window().start() * 1_000_000L)))
                .to(job.target(), Produced.with(Serdes.String(), Serdes.ByteArray()));
        job.run(builder.build(job.properties()));
    }
}
