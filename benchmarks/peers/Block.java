package peers;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Arrays;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;

/** The columns of one record of schema raw-opcua/1 that a window needs. */
final class Block {
    String[] tags = new String[16];
    int tagCount;
    int[] tag = new int[128];
    long[] t = new long[128];
    double[] v = new double[128];
    /** OPC UA StatusCodes; null where all are Good. */
    long[] status;
    int size;

    private static final JsonFactory JSON = JsonFactory.builder()
            .enable(StreamReadFeature.USE_FAST_DOUBLE_PARSER)
            .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
            .build();

    /** Whether the record is a heartbeat, by its schema header. */
    static boolean isHeartbeat(Headers headers) {
        Header schema = headers.lastHeader("schema");
        return schema != null && schema.value().length > 0 && schema.value()[0] == 'h';
    }

    boolean usable(int i) {
        return status == null || (status[i] & 0xC0000000L) == 0;
    }

    /** Read a record into this object, over what it held. */
    Block read(byte[] payload) {
        status = null;
        size = 0;
        tagCount = 0;
        try (JsonParser p = JSON.createParser(payload)) {
            p.nextToken();
            for (String name = p.nextFieldName(); name != null; name = p.nextFieldName()) {
                JsonToken value = p.nextToken();
                switch (name) {
                    case "tags" -> readTags(p);
                    case "tag" -> readTag(p);
                    case "t" -> t = readLongs(p, t);
                    case "v" -> readValues(p);
                    case "status" -> status = readLongs(p, new long[t.length]);
                    default -> {
                        if (value.isStructStart()) p.skipChildren();
                    }
                }
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return this;
    }

    private void readTags(JsonParser p) throws IOException {
        while (p.nextToken() != JsonToken.END_ARRAY) {
            if (tagCount == tags.length) tags = Arrays.copyOf(tags, 2 * tagCount);
            tags[tagCount++] = p.getText();
        }
    }

    private void readTag(JsonParser p) throws IOException {
        int n = 0;
        while (p.nextToken() != JsonToken.END_ARRAY) {
            if (n == tag.length) tag = Arrays.copyOf(tag, 2 * n);
            tag[n++] = p.getIntValue();
        }
        size = n;
    }

    private static long[] readLongs(JsonParser p, long[] into) throws IOException {
        int n = 0;
        while (p.nextToken() != JsonToken.END_ARRAY) {
            if (n == into.length) into = Arrays.copyOf(into, 2 * n);
            into[n++] = p.getLongValue();
        }
        return into;
    }

    private void readValues(JsonParser p) throws IOException {
        int n = 0;
        for (JsonToken next = p.nextToken(); next != JsonToken.END_ARRAY; next = p.nextToken()) {
            if (n == v.length) v = Arrays.copyOf(v, 2 * n);
            v[n++] = next == JsonToken.VALUE_NULL ? Double.NaN : p.getDoubleValue();
        }
    }
}
