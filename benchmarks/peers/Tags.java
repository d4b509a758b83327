package peers;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.StreamWriteFeature;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * Partial aggregates of all tags of one asset in one window, as columns.
 *
 * Sums are of differences from the tag's first value, so that a large offset costs no digits and a
 * sample costs no division.
 */
final class Tags {
    String[] names = {};
    /** The names in UTF-8, as they are stored; made once for the same names. */
    private byte[] encoded = {};
    long[] n = {};
    long[] bad = {};
    double[] first = {};
    double[] sum = {};
    double[] squares = {};
    double[] min = {};
    double[] max = {};

    private static final JsonFactory JSON =
            JsonFactory.builder().enable(StreamWriteFeature.USE_FAST_DOUBLE_WRITER).build();
    private static final int ROW = 7 * Long.BYTES;
    /** Names by their stored form: assets of a kind have the same. */
    private static final ThreadLocal<Map<ByteBuffer, String[]>> KNOWN =
            ThreadLocal.withInitial(HashMap::new);

    /** The samples of the block whose time is from {@code start} and before {@code end}, ns. */
    void add(Block block, long start, long end) {
        int[] place = places(block);
        for (int i = 0; i < block.size; i++) {
            long t = block.t[i];
            if (t < start || t >= end) continue;
            int at = place == null ? block.tag[i] : place[block.tag[i]];
            double v = block.v[i];
            if (!block.usable(i) || Double.isNaN(v)) {
                bad[at]++;
                continue;
            }
            if (n[at]++ == 0) {
                first[at] = min[at] = max[at] = v;
                continue;
            }
            double d = v - first[at];
            sum[at] += d;
            squares[at] += d * d;
            if (v < min[at]) min[at] = v;
            if (v > max[at]) max[at] = v;
        }
    }

    /** The row of each of the block's tags; null where it is the tag's own number. */
    private int[] places(Block block) {
        int count = block.tagCount;
        boolean same = names.length >= count;
        for (int i = 0; same && i < count; i++) same = names[i].equals(block.tags[i]);
        if (same) return null;
        int[] place = new int[count];
        for (int i = 0; i < count; i++) place[i] = row(block.tags[i]);
        return place;
    }

    private int row(String name) {
        for (int i = 0; i < names.length; i++) if (names[i].equals(name)) return i;
        int rows = names.length + 1;
        names = Arrays.copyOf(names, rows);
        names[rows - 1] = name;
        encoded = null;
        resize(rows);
        return rows - 1;
    }

    private void resize(int rows) {
        n = Arrays.copyOf(n, rows);
        bad = Arrays.copyOf(bad, rows);
        first = Arrays.copyOf(first, rows);
        sum = Arrays.copyOf(sum, rows);
        squares = Arrays.copyOf(squares, rows);
        min = Arrays.copyOf(min, rows);
        max = Arrays.copyOf(max, rows);
    }

    int bytes() {
        if (encoded == null) encoded = String.join("\n", names).getBytes(StandardCharsets.UTF_8);
        return 2 * Integer.BYTES + encoded.length + names.length * ROW;
    }

    /** Write what {@link #get} reads; {@link #bytes} of it. */
    void put(ByteBuffer to) {
        bytes();
        to.putInt(names.length).putInt(encoded.length).put(encoded);
        for (int i = 0; i < names.length; i++) {
            to.putLong(n[i]).putLong(bad[i]).putDouble(first[i]).putDouble(sum[i]);
            to.putDouble(squares[i]).putDouble(min[i]).putDouble(max[i]);
        }
    }

    static Tags get(ByteBuffer from) {
        Tags tags = new Tags();
        int rows = from.getInt();
        byte[] names = new byte[from.getInt()];
        from.get(names);
        tags.encoded = names;
        tags.names = KNOWN.get().computeIfAbsent(ByteBuffer.wrap(names),
                bytes -> rows == 0 ? new String[0]
                        : new String(bytes.array(), StandardCharsets.UTF_8).split("\n", -1));
        tags.resize(rows);
        for (int i = 0; i < rows; i++) {
            tags.n[i] = from.getLong();
            tags.bad[i] = from.getLong();
            tags.first[i] = from.getDouble();
            tags.sum[i] = from.getDouble();
            tags.squares[i] = from.getDouble();
            tags.min[i] = from.getDouble();
            tags.max[i] = from.getDouble();
        }
        return tags;
    }

    /** The final result of a window as JSON; null where a statistic is undefined. */
    byte[] json(String asset, long start) {
        ByteArrayOutputStream out = new ByteArrayOutputStream(256 + 80 * names.length);
        try (JsonGenerator json = JSON.createGenerator(out)) {
            json.writeStartObject();
            json.writeStringField("asset", asset);
            json.writeNumberField("start", start);
            json.writeFieldName("tags");
            json.writeArray(names, 0, names.length);
            json.writeFieldName("count");
            json.writeArray(n, 0, n.length);
            json.writeFieldName("bad");
            json.writeArray(bad, 0, bad.length);
            json.writeArrayFieldStart("mean");
            for (int i = 0; i < n.length; i++) number(json, n[i] > 0, first[i] + sum[i] / n[i]);
            json.writeEndArray();
            json.writeArrayFieldStart("std");
            for (int i = 0; i < n.length; i++) {
                double about = squares[i] - sum[i] * sum[i] / n[i];
                number(json, n[i] > 1, Math.sqrt(Math.max(about, 0) / (n[i] - 1)));
            }
            json.writeEndArray();
            json.writeArrayFieldStart("min");
            for (int i = 0; i < n.length; i++) number(json, n[i] > 0, min[i]);
            json.writeEndArray();
            json.writeArrayFieldStart("max");
            for (int i = 0; i < n.length; i++) number(json, n[i] > 0, max[i]);
            json.writeEndArray();
            json.writeEndObject();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return out.toByteArray();
    }

    private static void number(JsonGenerator json, boolean defined, double value)
            throws IOException {
        if (defined) json.writeNumber(value);
        else json.writeNull();
    }
}
