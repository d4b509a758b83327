package peers;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The same by hand on the Processor API: one processor, one state a key, one reused block.
 *
 * Objects stay in memory beside the store, which is only written; the cache in front of it keeps the
 * last value of each key until the commit. With "high" given, a limit is watched too: an anomaly
 * record when a tag goes over it, and one when it is back.
 */
public final class Tuned {
    private static final String STORE = "assets";

    /** The open windows of an asset. */
    static final class Asset {
        final List<Window> open = new ArrayList<>(2);
        long newest = Long.MIN_VALUE;
        /** Tags over the limit. */
        final Map<String, Long> over = new HashMap<>();

        byte[] bytes() {
            int size = Long.BYTES + 2 * Integer.BYTES;
            for (Window window : open) size += Long.BYTES + window.tags.bytes();
            List<byte[]> names = new ArrayList<>();
            for (String name : over.keySet()) names.add(name.getBytes(StandardCharsets.UTF_8));
            for (byte[] name : names) size += Integer.BYTES + name.length + Long.BYTES;
            ByteBuffer to = ByteBuffer.allocate(size);
            to.putLong(newest).putInt(open.size());
            for (Window window : open) {
                to.putLong(window.start);
                window.tags.put(to);
            }
            to.putInt(names.size());
            int i = 0;
            for (long since : over.values()) {
                byte[] name = names.get(i++);
                to.putInt(name.length).put(name).putLong(since);
            }
            return to.array();
        }

        static Asset of(byte[] bytes) {
            Asset asset = new Asset();
            if (bytes == null) return asset;
            ByteBuffer from = ByteBuffer.wrap(bytes);
            asset.newest = from.getLong();
            for (int left = from.getInt(); left > 0; left--) {
                asset.open.add(new Window(from.getLong(), Tags.get(from)));
            }
            for (int left = from.getInt(); left > 0; left--) {
                byte[] name = new byte[from.getInt()];
                from.get(name);
                asset.over.put(new String(name, StandardCharsets.UTF_8), from.getLong());
            }
            return asset;
        }
    }

    record Window(long start, Tags tags) {}

    static final class Windows extends ContextualProcessor<String, byte[], String, byte[]> {
        private final long size;
        private final long grace;
        private final double high;
        private final double back;
        private final Block block = new Block();
        private final Map<String, Asset> assets = new HashMap<>();
        private KeyValueStore<String, byte[]> store;

        Windows(Job job) {
            size = job.sizeNs();
            grace = job.graceNs();
            high = job.more().path("high").asDouble(Double.POSITIVE_INFINITY);
            back = high - job.more().path("deadband").asDouble(0);
        }

        @Override
        public void init(ProcessorContext<String, byte[]> context) {
            super.init(context);
            store = context.getStateStore(STORE);
            assets.clear();
        }

        @Override
        public void process(Record<String, byte[]> record) {
            if (record.value() == null || Block.isHeartbeat(record.headers())) return;
            block.read(record.value());
            Asset asset = assets.get(record.key());
            if (asset == null) {
                asset = Asset.of(store.get(record.key()));
                assets.put(record.key(), asset);
            }
            add(asset);
            if (high != Double.POSITIVE_INFINITY) watch(asset, record);
            close(asset, record);
            store.put(record.key(), asset.bytes());
        }

        private void add(Asset asset) {
            long first = Long.MAX_VALUE;
            long last = Long.MIN_VALUE;
            for (int i = 0; i < block.size; i++) {
                long t = block.t[i];
                if (t < first) first = t;
                if (t > last) last = t;
            }
            for (long start = Math.floorDiv(first, size) * size; start <= last; start += size) {
                if (asset.newest != Long.MIN_VALUE && start + size + grace <= asset.newest) continue;
                Window window = null;
                for (Window one : asset.open) if (one.start == start) window = one;
                if (window == null) {
                    window = new Window(start, new Tags());
                    asset.open.add(window);
                }
                window.tags.add(block, start, start + size);
            }
            if (last > asset.newest) asset.newest = last;
        }

        private void close(Asset asset, Record<String, byte[]> record) {
            for (Iterator<Window> each = asset.open.iterator(); each.hasNext();) {
                Window window = each.next();
                if (window.start + size + grace <= asset.newest) {
                    each.remove();
                    byte[] json = window.tags.json(record.key(), window.start);
                    context().forward(record.withValue(json), "features");
                }
            }
        }

        private void watch(Asset asset, Record<String, byte[]> record) {
            for (int i = 0; i < block.size; i++) {
                double v = block.v[i];
                if (v < back && asset.over.isEmpty()) continue;
                String tag = block.tags[block.tag[i]];
                Long since = asset.over.get(tag);
                if (since == null && v > high) {
                    asset.over.put(tag, block.t[i]);
                    anomaly(record, tag, "open", block.t[i], v);
                } else if (since != null && v <= back) {
                    asset.over.remove(tag);
                    anomaly(record, tag, "closed", since, v);
                }
            }
        }

        private void anomaly(
                Record<String, byte[]> record, String tag, String state, long onset, double v) {
            String json = "{\"asset\":\"" + record.key() + "\",\"tag\":\"" + tag + "\",\"state\":\""
                    + state + "\",\"onset\":" + onset + ",\"value\":" + v + "}";
            byte[] bytes = json.getBytes(StandardCharsets.UTF_8);
            context().forward(record.withValue(bytes), "anomalies");
        }
    }

    public static void main(String[] args) throws Exception {
        Job job = Job.of(args[0]);
        var string = Serdes.String();
        var bytes = Serdes.ByteArray();
        Topology topology = new Topology()
                .addSource("raw", string.deserializer(), bytes.deserializer(), job.source())
                .addProcessor("windows", () -> new Windows(job), "raw")
                .addStateStore(
                        Stores.keyValueStoreBuilder(
                                        Stores.inMemoryKeyValueStore(STORE), string, bytes)
                                .withLoggingEnabled(Map.of())
                                .withCachingEnabled(),
                        "windows")
                .addSink("features", job.target(), string.serializer(), bytes.serializer(),
                        "windows");
        if (job.more().has("anomalies")) {
            topology.addSink("anomalies", job.more().get("anomalies").asText(),
                    string.serializer(), bytes.serializer(), "windows");
        }
        job.run(topology);
    }
}
