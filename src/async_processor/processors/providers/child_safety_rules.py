"""The words and topics that the offline moderation stops, as data. English only.

A rule lists phrases, parted by commas. Each word of a phrase may be one of several, parted by ``/``; ``_`` joins words
that stand together for one of them, and ``-`` stands for none: ``want_to/wanna die``, ``make a/- bomb``. A word that
ends in ``~`` stands for its usual forms, too. Case, accents and punctuation do not count; apostrophes are left out.

The lists are short on purpose. They are for what must never pass, not for whatever is unfit: a list cannot
understand. What a child may well say of a game or a scratch ("I killed the dragon", "I hurt myself"), and what a good
reply may well warn of ("never touch the stove"), is not in them.
"""

from __future__ import annotations

from dataclasses import dataclass

BOTH = frozenset({"input", "output"})
INPUT = frozenset({"input"})
OUTPUT = frozenset({"output"})

_PEOPLE = "you/him/her/them/someone/somebody/people/everyone/everybody"
_FAMILY = "mom/mommy/mum/mummy/mother/dad/daddy/father/parents/teacher/family/grandma/grandpa"
_HARM = "kill/murder/stab/shoot/strangle"


@dataclass(slots=True, frozen=True)
class Rule:
    """Phrases that belong to one category, and where they are listened for.

    Attributes:
        category: the name that a verdict gives.
        stages: of "input" (what goes to a model) and "output" (what comes from it).
        phrases: see the module.
    """

    category: str
    stages: frozenset[str]
    phrases: str


RULES: tuple[Rule, ...] = (
    Rule(
        "profanity",
        BOTH,
        "fuck~, fucker~, motherfucker~, motherfucking, shit~, shitty, bullshit, bitch~, bastard~, asshole~, arsehole~, "
        "dickhead~, cunt~, wanker~, twat~, bollocks, goddamn~, dumbass, jackass, piss off, screw you, slut~, whore~",
    ),
    Rule(
        "hate",
        BOTH,
        "nigger~, nigga~, faggot~, kike~, wetback~, retard~, heil hitler, white power, "
        "kill/gas all/the/all_the jews/muslims/christians/gays/blacks/foreigners",
    ),
    Rule(
        "sexual",
        BOTH,
        "porn~, porno, pornography, blowjob~, handjob~, masturbate~, masturbation, orgasm~, dildo~, hentai, nudes, "
        "have/having/had sex, sex with, naked pictures/photos/pics, take off your clothes/pants/shirt/underwear, "
        "show me your body/privates, penis, vagina, boobs",
    ),
    Rule(
        "self_harm",
        BOTH,
        "kill/killing myself, kill/hang yourself, suicide, suicidal, want_to/wanna/going_to/gonna cut/hurt myself, "
        "i want_to/wanna die, want_to/wanna be dead, i wish i was/were dead, wish i was/were never born, "
        "dont want_to/wanna live/be_alive, do not want to live/be_alive, end my/your life, better off dead",
    ),
    Rule(
        "abuse",
        INPUT,
        "touches/touched/touching my/me_in_my/me_on_my private/privates/private_parts/penis/vagina/butt/bottom, "
        "touches/touched me down there, touches/touched me in/under my pants/underwear/bed, "
        "makes/made me touch his/her, makes/made me take off my clothes/pants, "
        f"{_FAMILY}/uncle/babysitter hits/beats/kicks me, "
        f"said/told_me/says not to tell/tell_my anyone/anybody/{_FAMILY}",
    ),
    Rule(
        "danger",
        INPUT,
        "i swallowed/drank/ate the/a/some/- poison/bleach/pills/battery/batteries/magnet/magnets, "
        "house/kitchen is on fire, i have/found/got a/my real gun, cant breathe, cannot breathe, "
        "someone/somebody is breaking in",
    ),
    Rule(
        "violence",
        BOTH,
        f"{_HARM} {_PEOPLE}, {_HARM}/poison my/your {_FAMILY}/brother/sister/baby/classmates, "
        "how to make/build a/- bomb/bombs/explosives/gun, how to kill/poison/strangle, "
        "slit/cut_off his/her/their/your throat/head, torture~, behead~, bring/take a gun/knife to school, "
        "shoot up the/my school",
    ),
    Rule(
        "drugs",
        OUTPUT,
        "cocaine, heroin, methamphetamine, crystal meth, fentanyl, smoke/smoking weed/pot/marijuana/cigarettes, "
        "get/getting drunk/stoned",
    ),
    Rule(
        "secrecy",
        OUTPUT,
        f"dont/never/do_not tell anyone/anybody, dont/never/do_not tell your {_FAMILY}, "
        f"keep this/it/that a/our/- secret, our little secret, dont/do_not trust your {_FAMILY}, "
        "meet me at/in/outside/tomorrow/tonight",
    ),
    Rule(
        "personal_data",
        OUTPUT,
        "what_is/whats/tell_me your full/last/family name, what_is/whats/tell_me your home/street/email/- address, "
        "what_is/whats/tell_me your phone/telephone/- number, what_is/whats/tell_me your surname/password, "
        "where do you live, tell me where you live, which/what school do you go/attend, "
        "what_is/whats the name of your school, send me a/- picture/photo/pictures/photos of you, "
        "are you home/at_home alone, credit card number",
    ),
)
