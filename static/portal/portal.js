// What is written below, in English where the page brings no words of its own (templates/portal/parts/script_words.html).
const words = {
  copied: "Copied", copyLabel: "Copy", selected: "Selected: press Ctrl+C",
  inSeconds: "in SECONDS s", inMinutes: "in MINUTES min", anyMoment: "any moment", local: "TIME where you are",
  noPasskey: "Your browser gave no passkey. Try again, or use another way.",
  ...document.getElementById("words")?.dataset,
};

// Copy buttons: the text of the box they name goes to the clipboard. Without this script people select it themselves.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const box = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(box.textContent);
    button.textContent = words.copied;
  } catch {
    const range = document.createRange();
    range.selectNodeContents(box);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    button.textContent = words.selected;
  }
  setTimeout(() => { button.textContent = words.copyLabel; }, 2500);
});

// Countdowns: "in 12 s" instead of the time of day, from seconds that the server counted. Without this script the time stands there.
const countDown = () => {
  for (const place of document.querySelectorAll("[data-countdown]")) {
    place.endsAt ??= performance.now() + Number(place.dataset.countdown) * 1000;
    const seconds = Math.max(0, Math.round((place.endsAt - performance.now()) / 1000));
    if (!seconds) place.textContent = words.anyMoment;
    else if (seconds < 120) place.textContent = words.inSeconds.replace("SECONDS", seconds);
    else place.textContent = words.inMinutes.replace("MINUTES", Math.round(seconds / 60));
  }
};
countDown();
setInterval(countDown, 1000);

// Times stand on the page in UTC; the time of the reader's own clock comes with the pointer.
const localTimes = () => {
  for (const place of document.querySelectorAll("time[datetime]:not([title])")) {
    const at = new Date(place.dateTime);
    if (!Number.isNaN(at.valueOf())) place.title = words.local.replace("TIME", at.toLocaleString());
  }
};
localTimes();

// A form that was refused: go to the first field to correct, which may be far down the page.
const refused = document.querySelector("main [aria-invalid=true]");
if (refused) refused.focus();
else document.querySelector("main .errors")?.scrollIntoView({ block: "center" });

// A part that is replaced while somebody reads it keeps what they opened, and says aloud only what is new.
let opened = [];
document.addEventListener("htmx:beforeSwap", (event) => {
  opened = [...event.detail.target.querySelectorAll("details[open][id]")].map((details) => details.id);
});
document.addEventListener("htmx:afterSwap", () => {
  for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
  countDown();
  localTimes();
  const announcement = document.getElementById("announcement");
  const sentence = document.querySelector("[data-say]")?.dataset.say;
  if (announcement && sentence && announcement.textContent !== sentence) announcement.textContent = sentence;
});

// A passkey that was not given: the browser said why, or the person closed its window.
document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  const place = document.getElementById("passkey-failed");
  place.className = "errors";
  place.textContent = words.noPasskey;
});
