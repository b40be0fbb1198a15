// Drawing: once a frame, however much has happened since the last. What others send must not decide how often.

/** A hidden page gets no frames, but its title is still to be seen. */
const LATEST_MS = 500;

/** A function that has `draw` called before the next frame, once however often it is called itself. */
export function onceAFrame(draw) {
  let frame = 0;
  let timer = 0;
  const run = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    timer = 0;
    draw();
  };
  return () => {
    if (timer) return;
    frame = requestAnimationFrame(run);
    timer = setTimeout(run, LATEST_MS);
  };
}
