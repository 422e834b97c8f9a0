// What set-up tells while it works: one line a step, with how long it usually takes and how long it took.

/**
 * @param {NodeJS.WriteStream} [out]
 * @returns progress with step(title, usual_s, work): runs `work`, times it, and passes its result on; steps may run side by side.
 */
export function createProgress(out = process.stderr) {
  const running = new Map()
  const live = Boolean(out.isTTY)
  let painted = false
  const clear = () => {
    if (painted) out.write('\r\x1b[K')
    painted = false
  }
  const paint = () => {
    if (!live || running.size === 0) return
    const parts = [...running.values()].map((step) => {
      const seconds = Math.round((performance.now() - step.begun) / 1000)
      return `${step.title}${step.note ? ` (${step.note})` : ''} ${seconds} s${step.usual_s ? ` of about ${step.usual_s}` : ''}`
    })
    out.write(`\r\x1b[K  … ${parts.join(' · ').slice(0, (out.columns ?? 100) - 6)}`)
    painted = true
  }
  const timer = live ? setInterval(paint, 500) : null
  timer?.unref()

  return {
    say(line) {
      clear()
      out.write(`${line}\n`)
      paint()
    },
    async step(title, usual_s, work) {
      const key = Symbol(title)
      const step = { title, usual_s, begun: performance.now(), note: '' }
      running.set(key, step)
      if (!live && usual_s >= 5) out.write(`  … ${title} (usually ${usual_s} s)\n`)
      paint()
      try {
        const result = await work((note) => { step.note = note })
        running.delete(key)
        clear()
        out.write(`  ✓ ${title}  ${((performance.now() - step.begun) / 1000).toFixed(1)} s\n`)
        return result
      } catch (error) {
        running.delete(key)
        clear()
        out.write(`  ✗ ${title}\n`)
        throw error
      } finally {
        paint()
      }
    },
    end() {
      if (timer) clearInterval(timer)
      clear()
    },
  }
}
