package tieout;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Kafka Streams: three topics as one stream, aggregated by key into a persistent, logged store; at least once.
 *
 * <p>{@code java tieout.ThreeWay BOOTSTRAP FOLDER}. The job is that of benchmarks/peers/three_way.py. The record cache is
 * off: it made the drain slower, and every part gives its result as it does everywhere else.
 */
public final class ThreeWay {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int PARTS = 3;

    public static void main(String[] arguments) {
        Serde<JsonNode> json = Serdes.serdeFrom((topic, node) -> written(node), (topic, bytes) -> read(bytes));
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(List.of("invoices", "postings", "payments"), Consumed.with(Serdes.String(), json))
                .groupByKey(Grouped.with(Serdes.String(), json))
                .aggregate(JSON::createObjectNode, ThreeWay::add, Materialized.with(Serdes.String(), json))
                .toStream()
                .mapValues(ThreeWay::result)
                .to("peer-results", Produced.with(Serdes.String(), json));
        KafkaStreams streams = new KafkaStreams(builder.build(), settings(arguments[0], arguments[1]));
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }

    private static JsonNode add(String key, JsonNode event, JsonNode state) {
        return ((ObjectNode) state).set(event.get("type").asText(), event.get("data"));
    }

    private static JsonNode result(String key, JsonNode state) {
        ObjectNode result = JSON.createObjectNode().put("case", key);
        if (state.size() < PARTS) {
            return result.put("outcome", "pending").put("variance_minor", 0);
        }
        long invoiced = state.get("invoice.issued").get("total_minor").asLong();
        long paid = state.get("payment.received").get("amount_minor").asLong();
        long posted = 0;
        for (JsonNode line : state.get("posting.recorded").get("lines")) {
            if (line.get("role").asText().equals("receivable")) {
                posted += line.get("amount_minor").asLong();
            }
        }
        boolean same = invoiced == posted && posted == paid;
        return result.put("outcome", same ? "ok" : "break").put("variance_minor", posted - invoiced);
    }

    private static Properties settings(String bootstrap, String folder) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "kafka-streams");
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, folder);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.AT_LEAST_ONCE);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5_000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.FETCH_MIN_BYTES_CONFIG), 1 << 20);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 100);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 128 << 10);
        return settings;
    }

    private static byte[] written(JsonNode node) {
        try {
            return node == null ? null : JSON.writeValueAsBytes(node);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static JsonNode read(byte[] bytes) {
        try {
            return bytes == null ? null : JSON.readTree(bytes);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private ThreeWay() {}
}
