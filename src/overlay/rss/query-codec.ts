import { limits as core, type Reader, type Writer } from '../core/index.ts';
import { limits } from './limits.ts';
import type { Constraint, Query } from './query.ts';

const code = { range: 0, in: 1, not: 2, has: 3, near: 4 } as const;

export function encodeQuery(query: Query, writer: Writer): void {
  writer.u8(query.constraints.length);
  for (const constraint of query.constraints) {
    writer.u8(code[constraint.kind]);
    if (constraint.kind === 'near') {
      writer.f32(constraint.x).f32(constraint.y).f32(constraint.height).f32(constraint.within_ms);
      continue;
    }
    writer.text(constraint.attribute);
    if (constraint.kind === 'range') {
      // An open end is infinite, which no number on the wire is: flags say which bounds are there.
      const flags = (Number.isFinite(constraint.low) ? 1 : 0) | (Number.isFinite(constraint.high) ? 2 : 0) | (constraint.low_open ? 4 : 0) | (constraint.high_open ? 8 : 0);
      writer.u8(flags);
      if ((flags & 1) !== 0) writer.f64(constraint.low);
      if ((flags & 2) !== 0) writer.f64(constraint.high);
    } else if (constraint.kind === 'has') writer.text(constraint.member);
    else {
      writer.u8(constraint.values.length);
      for (const value of constraint.values) {
        if (typeof value === 'number') writer.u8(0).f64(value);
        else writer.u8(1).text(value);
      }
    }
  }
}

export function decodeQuery(reader: Reader): Query {
  const count = reader.u8();
  if (count > limits.constraints_max) throw reader.malformed(`a query of ${count} constraints`);
  return { constraints: Array.from({ length: count }, () => decodeConstraint(reader)) };
}

function decodeConstraint(reader: Reader): Constraint {
  const kind = reader.u8();
  if (kind === code.near) return { kind: 'near', x: reader.f32(), y: reader.f32(), height: reader.f32(), within_ms: reader.f32() };
  if (kind > code.near) throw reader.malformed(`a constraint of kind ${kind}`);
  const attribute = reader.text(core.attribute_name_bytes_max);
  if (kind === code.has) return { kind: 'has', attribute, member: reader.text(core.attribute_text_bytes_max) };
  if (kind === code.range) {
    const flags = reader.u8();
    const low = (flags & 1) !== 0 ? reader.f64() : Number.NEGATIVE_INFINITY;
    const high = (flags & 2) !== 0 ? reader.f64() : Number.POSITIVE_INFINITY;
    if (flags > 15 || low > high) throw reader.malformed('a range that cannot be');
    return { kind: 'range', attribute, low, high, low_open: (flags & 4) !== 0, high_open: (flags & 8) !== 0 };
  }
  const count = reader.u8();
  if (count > limits.set_values_max) throw reader.malformed(`a set of ${count} values`);
  const values = Array.from({ length: count }, () => {
    const type = reader.u8();
    if (type > 1) throw reader.malformed(`a value of kind ${type}`);
    return type === 0 ? reader.f64() : reader.text(core.attribute_text_bytes_max);
  });
  return { kind: kind === code.in ? 'in' : 'not', attribute, values };
}

/** Encoded bytes, for the simulator. */
export function queryBytes(query: Query): number {
  let bytes = 1;
  for (const constraint of query.constraints) {
    bytes += 18;
    if ('attribute' in constraint) bytes += 3 + constraint.attribute.length;
    if ('values' in constraint) bytes += 9 * constraint.values.length;
  }
  return bytes;
}
