import type { Log, LogFields } from '../core/ports.ts';

const levels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof levels)[number];

/** One line per message on standard error, where the supervisor collects it: time, level, area, message, key=value. */
export function streamLog(options: { level?: LogLevel; write?: (line: string) => void; now?: () => Date; area?: string } = {}): Log {
  const least = levels.indexOf(options.level ?? 'info');
  const write = options.write ?? ((line: string) => void process.stderr.write(line));
  const now = options.now ?? (() => new Date());
  const area = options.area ?? '';
  const say = (level: LogLevel) => (message: string, fields: LogFields = {}): void => {
    if (levels.indexOf(level) < least) return;
    let line = `${now().toISOString()} ${level.padEnd(5)} ${area === '' ? '' : `${area}: `}${clean(message)}`;
    for (const [key, value] of Object.entries(fields)) if (value !== undefined) line += ` ${key}=${shown(value)}`;
    write(`${line}\n`);
  };
  return {
    debug: say('debug'),
    info: say('info'),
    warn: say('warn'),
    error: say('error'),
    child: (name) => streamLog({ ...options, area: area === '' ? name : `${area}/${name}` }),
  };
}

// A user's name or a peer's message must not be able to forge a log line.
const clean = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);

function shown(value: string | number | boolean | null): string {
  if (typeof value !== 'string') return String(value);
  return /^[A-Za-z0-9_@.:/+-]+$/.test(value) ? value : clean(JSON.stringify(value));
}
