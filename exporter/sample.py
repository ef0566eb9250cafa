"""Messages written for this project, for verifying a checkpoint that brings no test set of its own."""

from __future__ import annotations

SPAM = (
    "CONGRATS! Your number was drawn for a £1,500 shopping card. Reply GIFT to 80231 before midnight. 150p/msg",
    "Your parcel is held at the depot because of an unpaid fee of 1.99. Settle it now: parcel-release.example/pay",
    "URGENT: we noticed a sign-in to your bank from a new phone. Not you? Confirm your card at safe-bank.example",
    "Get 10,000 in your account today, bad credit is no problem! Call 0906 555 0142 now, calls cost 1.50/min",
    "Hi dear, i saw ur pic and im bored 2nite ;) txt ME to 69555 to chat, 18+ only, 2 pounds a msg",
    "Double your bitcoin in 24 hours. 3,200 members paid out already. Join the channel: t.example/doublecoin",
    "Work from home, 300 a day, no experience, only 1 hour!!! Send your name and age on WhatsApp to start",
    "FINAL NOTICE your car warranty has expired. To avoid the penalty press the link and renew within 2 hrs",
    "FREE ringtone for you! Reply TONE to 82277. Then 4.50 per week, send STOP to end",
    "You have (1) unread voicemail from a private number. Listen: vm-box.example/9x2k",
    "Tax office: a refund of 412.60 is waiting. Enter your card details to receive it: refund-desk.example",
    "Cheap meds without prescription, discreet delivery worldwide, 70% off this weekend only",
    "Mum, my phone broke, this is my new number. Can you send me 900 for the rent today? I'll explain later",
    "Last chance! Our hot new casino gives you 200 free spins, no deposit. Claim: spinwin.example",
    "Win an iPad: what is the capital of France? A) Paris B) Rome. Text A or B to 84111. Cost 3.00 + std rate",
    "Dear customer your account will be CLOSED. Verify within 12h: http://account-check.example/login",
    "Loose 10 kg in 2 weeks!! Doctors hate this tea. Order now get 2 for 1 >> slimtea.example",
    "Your mobile has been awarded a bonus prize. To claim call 09061 555 777 from a landline. Box 97, over 18s",
    "Investment tip: this stock goes up 400% on Monday, buy before everybody knows. Reply YES for the name",
    "Ur streaming plan could not be renewed, update payment method here or lose access: tv-billing.example",
)

HAM = (
    "Running ten minutes late, start without me",
    "Can you pick up milk and those little batteries on the way home?",
    "Your verification code is 482913. Do not share it with anyone.",
    "lol no way he actually said that?? tell me everything tmrw",
    "The meeting moved to 3pm, room 214. Bring the printed figures please.",
    "Happy birthday grandma! We call you tonight after dinner ❤️",
    "Your order has been shipped and should arrive on Thursday.",
    "ok",
    "Dr. Weiss's practice: we remind you of your appointment on 14 May at 9:20.",
    "I left the keys under the blue pot. Don't let the cat out!",
    "u coming 2 training? coach says bring both shirts",
    "Sorry I missed your call, was on the train. What's up?",
    "Danke dir, bis morgen!",
    "The landlord says the heating man comes between 8 and 12, can you be there?",
    "i think i left my charger at urs, can u check next to the sofa",
    "Flight BX204 to Porto: gate changed to C17, boarding at 18:05.",
    "We won!!! 3-2 in the last minute, my voice is gone",
    "Please send me the signed contract by Friday so that I can book the van.",
    "How did the exam go? I'm sure you did fine.",
    "Been thinking about what you said. You're right, I'll talk to her this weekend.",
)

SAMPLE: tuple[tuple[str, int], ...] = tuple((text, 1) for text in SPAM) + tuple((text, 0) for text in HAM)
"""Texts and labels, 1 for spam."""
