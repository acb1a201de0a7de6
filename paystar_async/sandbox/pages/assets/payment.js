"use strict";
// Count the payer's time down. At its end the page asks the sandbox again, which then leads back to the shop.
const left = document.getElementById("left");
const digits = new Intl.NumberFormat(document.documentElement.lang, { minimumIntegerDigits: 2, useGrouping: false });
const end = Date.now() + 1000 * left.dataset.seconds;

function countDown() {
  const seconds = Math.max(0, Math.ceil((end - Date.now()) / 1000));
  left.textContent = `${digits.format(Math.floor(seconds / 60))}:${digits.format(seconds % 60)}`;
  left.classList.toggle("wrong", seconds <= 60);
  if (seconds === 0) {
    clearInterval(timer);
    document.getElementById("pay").submit();
  }
}

const timer = setInterval(countDown, 1000);
