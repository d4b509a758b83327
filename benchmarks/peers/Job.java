package peers;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.time.Duration;
import java.util.Iterator;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;

/** What a peer is asked to do: topics, sizes, and the properties of Kafka Streams. */
record Job(String source, String target, long sizeNs, long graceNs, JsonNode more,
           Properties properties) {

    /** {"source": …, "target": …, "size_ns": …, "grace_ns": …, "properties": {…}}. */
    static Job of(String json) throws IOException {
        JsonNode given = new ObjectMapper().readTree(json);
        Properties properties = new Properties();
        Iterator<Map.Entry<String, JsonNode>> fields = given.get("properties").fields();
        while (fields.hasNext()) {
            Map.Entry<String, JsonNode> one = fields.next();
            properties.put(one.getKey(), one.getValue().asText());
        }
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        return new Job(given.get("source").asText(), given.get("target").asText(),
                given.get("size_ns").asLong(), given.get("grace_ns").asLong(), given, properties);
    }

    /** Run until SIGTERM, or until a thread fails: then exit with 1. */
    void run(Topology topology) throws InterruptedException {
        KafkaStreams streams = new KafkaStreams(topology, properties);
        CountDownLatch over = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            if (now == KafkaStreams.State.ERROR) Runtime.getRuntime().halt(1);
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(10));
            over.countDown();
        }));
        streams.start();
        over.await();
    }
}
