import { XosError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';

/**
 * The agent socket's form (docs/architecture.md): lines key=value, values percent-encoded outside [A-Za-z0-9@._:/+-], ended by an empty
 * line; the first line of a request is op=…, of an answer status=…. Strict: a request that is not exactly that is refused.
 */
export type AgentFields = ReadonlyMap<string, string>;

const key_pattern = /^[a-z_]+(?:\.[A-Za-z0-9_]+)?$/;
const encoded_pattern = /^(?:[A-Za-z0-9@._:/+-]|%[0-9A-Fa-f]{2})*$/;
const fields_max = 64;

const malformed = (why: string): XosError => new XosError('XOS_MALFORMED', `cannot read the agent request: ${why}`);

export function encodeFields(first: readonly [string, string], fields: Readonly<Record<string, string | number | undefined>>): string {
  let text = `${first[0]}=${encodeValue(first[1])}\n`;
  for (const [key, value] of Object.entries(fields)) if (value !== undefined) text += `${key}=${encodeValue(String(value))}\n`;
  return `${text}\n`;
}

export function encodeValue(value: string): string {
  let text = '';
  for (const byte of Buffer.from(value, 'utf8')) {
    const character = String.fromCharCode(byte);
    text += /[A-Za-z0-9@._:/+-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return text;
}

export function decodeValue(text: string): string {
  if (!encoded_pattern.test(text)) throw malformed('a value is not percent-encoded');
  const bytes: number[] = [];
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== '%') bytes.push(text.charCodeAt(at));
    else {
      bytes.push(parseInt(text.slice(at + 1, at + 3), 16));
      at += 2;
    }
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(bytes));
  } catch {
    throw malformed('a value is not UTF-8');
  }
}

/** The fields of one message, `first` being the key that must come first. */
export function decodeFields(text: string, first: 'op' | 'status'): AgentFields {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const equals = line.indexOf('=');
    if (equals < 1) throw malformed('a line is no key=value');
    const key = line.slice(0, equals);
    if (!key_pattern.test(key)) throw malformed('a key is not valid');
    if (fields.size === 0 && key !== first) throw malformed(`it does not begin with '${first}'`);
    if (fields.has(key)) throw malformed(`'${key}' is there twice`);
    if (fields.size >= fields_max) throw malformed('it has too many fields');
    fields.set(key, decodeValue(line.slice(equals + 1)));
  }
  return fields;
}

/** Cuts a byte stream into messages. `push` returns those that are whole; throws XOS_MALFORMED when one is too long or not ASCII. */
export class AgentFramer {
  #text = '';

  push(chunk: Buffer): readonly string[] {
    // The form is ASCII: everything else is percent-encoded.
    if (chunk.some((byte) => byte > 0x7e || (byte < 0x20 && byte !== 0x0a))) throw malformed('it holds bytes that must be percent-encoded');
    this.#text += chunk.toString('latin1');
    const messages: string[] = [];
    for (let end = this.#text.indexOf('\n\n'); end >= 0; end = this.#text.indexOf('\n\n')) {
      if (end > limits.agent_request_bytes_max) break;
      messages.push(this.#text.slice(0, end));
      this.#text = this.#text.slice(end + 2);
    }
    if (this.#text.length > limits.agent_request_bytes_max) throw malformed(`it is longer than ${limits.agent_request_bytes_max} bytes`);
    return messages;
  }
}
