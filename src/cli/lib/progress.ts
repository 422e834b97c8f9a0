import type { Stream } from './command.ts';

export type Progress = {
  /** Shows what is being done. May be called as often as one likes; on a terminal it is drawn at most ten times a second. */
  update(text: string): void;
  /** Removes the line from a terminal, so that the next output starts at the margin. Call it on every path. */
  stop(): void;
};

const drawIntervalMs = 100;
const lineIntervalMs = 5_000;

/**
 * A progress line on `stream`: rewritten in place on a terminal; elsewhere the first text, then one line every five seconds at most.
 * @param now milliseconds of a steady clock
 */
export function startProgress(stream: Stream, now: () => number = () => performance.now()): Progress {
  let last = Number.NEGATIVE_INFINITY;
  let shown = '';
  return {
    update(text) {
      if (text === shown || now() - last < (stream.isTTY ? drawIntervalMs : lineIntervalMs)) return;
      [last, shown] = [now(), text];
      stream.write(stream.isTTY ? `\r${[...text].slice(0, (stream.columns ?? 80) - 1).join('')}\x1b[K` : `${text}\n`);
    },
    stop() {
      if (stream.isTTY && shown !== '') stream.write('\r\x1b[K');
      shown = '';
    },
  };
}
