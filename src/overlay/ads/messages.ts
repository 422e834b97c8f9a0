import { kinds, type Codec, type Message, type Peer } from '../core/index.ts';
import { descriptor_bytes } from '../membership/index.ts';
import { decodeQuery, encodeQuery, queryBytes, readPeers, writePeers, type Query } from '../rss/index.ts';
import { limits } from './limits.ts';

/** To each member: you belong to this application; report to these. Sent again to renew. */
export interface OpenMessage extends Message {
  readonly kind: typeof kinds.ads_open;
  readonly app: string;
  readonly replicas: readonly Peer[];
  readonly metrics: readonly string[];
  readonly report_ms: number;
}

export interface ReportMessage extends Message {
  readonly kind: typeof kinds.ads_report;
  readonly app: string;
  /** In the order of the application's metrics; null: the node has none such. */
  readonly values: readonly (number | null)[];
}

export interface AskMessage extends Message {
  readonly kind: typeof kinds.ads_ask;
  readonly app: string;
  readonly id: number;
  readonly wanted: number;
  readonly query: Query;
}

export interface AnswerMessage extends Message {
  readonly kind: typeof kinds.ads_answer;
  readonly id: number;
  /** False: the asked node keeps no such directory. */
  readonly known: boolean;
  readonly matches: readonly Peer[];
}

export interface CloseMessage extends Message {
  readonly kind: typeof kinds.ads_close;
  readonly app: string;
}

const open: Codec<OpenMessage> = {
  kind: kinds.ads_open,
  encode(message, writer) {
    writer.text(message.app).u32(message.report_ms);
    writePeers(writer, message.replicas);
    writer.u8(message.metrics.length);
    for (const name of message.metrics) writer.text(name);
  },
  decode(reader) {
    const app = reader.text(limits.app_bytes_max);
    const report_ms = reader.u32();
    if (report_ms < limits.report_ms_min || report_ms > limits.report_ms_max) throw reader.malformed(`reports every ${report_ms} ms`);
    const replicas = readPeers(reader, limits.replicas);
    const count = reader.u8();
    if (count > limits.metrics_max) throw reader.malformed(`${count} metrics`);
    return { kind: kinds.ads_open, app, replicas, report_ms, metrics: Array.from({ length: count }, () => reader.text(limits.metric_name_bytes_max)) };
  },
  size: (message) => 9 + message.app.length + message.replicas.length * (2 + descriptor_bytes) + message.metrics.reduce((sum, name) => sum + 2 + name.length, 0),
};

const report: Codec<ReportMessage> = {
  kind: kinds.ads_report,
  encode(message, writer) {
    writer.text(message.app).u8(message.values.length);
    for (const value of message.values) {
      if (value === null) writer.u8(0);
      else writer.u8(1).f64(value);
    }
  },
  decode(reader) {
    const app = reader.text(limits.app_bytes_max);
    const count = reader.u8();
    if (count > limits.metrics_max) throw reader.malformed(`${count} values`);
    const values = Array.from({ length: count }, () => {
      const there = reader.u8();
      if (there > 1) throw reader.malformed(`a flag of ${there}`);
      return there === 0 ? null : reader.f64();
    });
    return { kind: kinds.ads_report, app, values };
  },
  size: (message) => 3 + message.app.length + 9 * message.values.length,
};

const ask: Codec<AskMessage> = {
  kind: kinds.ads_ask,
  encode(message, writer) {
    writer.text(message.app).u32(message.id).u16(message.wanted);
    encodeQuery(message.query, writer);
  },
  decode: (reader) => ({ kind: kinds.ads_ask, app: reader.text(limits.app_bytes_max), id: reader.u32(), wanted: reader.u16(), query: decodeQuery(reader) }),
  size: (message) => 8 + message.app.length + queryBytes(message.query),
};

const answer: Codec<AnswerMessage> = {
  kind: kinds.ads_answer,
  encode(message, writer) {
    writer.u32(message.id).u8(message.known ? 1 : 0);
    writePeers(writer, message.matches);
  },
  decode(reader) {
    const id = reader.u32();
    const known = reader.u8();
    if (known > 1) throw reader.malformed(`a flag of ${known}`);
    return { kind: kinds.ads_answer, id, known: known === 1, matches: readPeers(reader, limits.answer_peers_max) };
  },
  size: (message) => 7 + message.matches.length * (2 + descriptor_bytes),
};

const close: Codec<CloseMessage> = {
  kind: kinds.ads_close,
  encode: (message, writer) => void writer.text(message.app),
  decode: (reader) => ({ kind: kinds.ads_close, app: reader.text(limits.app_bytes_max) }),
  size: (message) => 2 + message.app.length,
};

export const adsCodecs: readonly Codec[] = [open, report, ask, answer, close];
