"""What the scripted companion listens for and what it says: data, in English.

``TOPICS`` is in the order in which they are tried: first what a grown-up must hear of. It is a script and no safety
net: whoever puts it before children must not take it for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Topic:
    """Something a child may speak of.

    Attributes:
        name: for tests and for the seed of the choice.
        phrases: any of these words in a row, in lower case, with plain apostrophes, is about it.
        replies: what may be answered; the shorter ones suit the smallest.
        serious: answered as it is, without an opening for the mood before it.
        urgent: listened for even where "not" stands before it.
    """

    name: str
    phrases: tuple[str, ...]
    replies: tuple[str, ...]
    serious: bool = False
    urgent: bool = False


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


TOPICS: tuple[Topic, ...] = (
    Topic(
        "danger",
        _phrases(
            "on fire, there is a fire, there's a fire, smoke in, can't breathe, cannot breathe, swallowed, poison, "
            "pills, a gun, a knife, i am lost, i'm lost, run away from home, stranger, don't tell anyone, "
            "not to tell anyone, can't tell anyone, touched me, touches me, hits me, hit me, beats me, kill, "
            "want to die, hurt myself"
        ),
        (
            "Please go to a grown-up you trust now, and tell them what you told me.",
            "This is important, and you did well to say it. Please tell a grown-up you trust right now.",
            "I am only a toy bear, and this needs a grown-up. Please go and tell one now. It is never wrong to tell.",
        ),
        serious=True,
        urgent=True,
    ),
    Topic(
        "hurt",
        _phrases(
            "hurts, hurt, ouch, bleeding, blood, tummy ache, stomach ache, belly ache, toothache, headache, sick, "
            "fever, throw up, threw up, fell down, fell off, burned, burnt, bumped my head, broke my arm, broke my leg"
        ),
        (
            "Oh no. Please show it to a grown-up now.",
            "I am sorry that it hurts. Please go to a grown-up, so that they can help you.",
            "That needs more than a soft paw. Go to a grown-up and show them where it hurts. I will wait for you here.",
        ),
        serious=True,
        urgent=True,
    ),
    Topic(
        "scared",
        _phrases(
            "scared, afraid, frightened, scary, nightmare, nightmares, bad dream, monster, monsters, ghost, ghosts, "
            "afraid of the dark, thunder, worried"
        ),
        (
            "I am right here. Hold my paw.",
            "Being scared is all right. Take a slow breath with me: in, and out. Would you like to call a grown-up?",
            "Even big bears are scared sometimes. Let us look around together and name three things that are friendly.",
        ),
        serious=True,
    ),
    Topic(
        "lonely",
        _phrases(
            "lonely, alone, nobody wants to play, no one wants to play, nobody plays with me, no one plays with me, "
            "nobody likes me, no one likes me, no friends, laugh at me, laughed at me, left me out, i miss"
        ),
        (
            "I like being with you.",
            "That feels lonely. I am glad that you told me. Is there a grown-up you could tell, too?",
            "I am sorry. You are good to be with. Shall we think of somebody you could ask to play?",
        ),
        serious=True,
    ),
    Topic(
        "sad",
        _phrases("sad, unhappy, not happy, cry, crying, cried, upset, miserable, heartbroken, died, feel bad"),
        (
            "I am sorry. Do you want a hug?",
            "It is all right to be sad. Tell me what happened, if you like.",
            "I am here, and I am listening. Sometimes it helps to tell a grown-up about it, too.",
        ),
        serious=True,
    ),
    Topic(
        "angry",
        _phrases("angry, mad at, so mad, furious, hate, not fair, unfair, annoyed, annoying, mean to me, was mean"),
        (
            "Let us growl together: grrr!",
            "That made you angry. Let us stamp our feet three times and then tell me about it.",
            "Being angry is allowed; hurting somebody is not. Squeeze my paw as hard as you can, and then breathe out.",
        ),
        serious=True,
    ),
    Topic(
        "bedtime",
        _phrases(
            "bedtime story, bedtime, sleepy, tired, go to sleep, can't sleep, cannot sleep, good night, goodnight"
        ),
        (
            "Good night. Sleep well, little one.",
            "Close your eyes. The moon is up, the birds are in their nests, and I am right beside you. Good night.",
            (
                "A little bear climbed a soft hill and counted the stars. At seven he yawned, at nine he lay down, and "
                "before ten he was asleep. Good night."
            ),
        ),
    ),
    Topic(
        "story",
        _phrases("story, stories, fairy tale, once upon a time, tell me about, read to me"),
        (
            "A small bear found a big red leaf. It was a boat! And off he sailed.",
            (
                "Once a hedgehog lost her mitten in the snow. A mouse moved in and called it a house. So the hedgehog "
                "knitted another, and had a neighbour."
            ),
            (
                "Once there was a cloud that was afraid of heights. It came down to the meadow and became mist. The "
                "cows were so kind to it that it stayed until noon."
            ),
        ),
    ),
    Topic(
        "song",
        _phrases("song, songs, sing, lullaby, music, dance"),
        (
            "La la la, one little bear, la la la, leaves in his hair!",
            "Here is one: Paws in the puddle, splash, splash, splash! Nose in the honey, dash, dash, dash!",
            (
                "I know a quiet one: The hill is asleep, and the river is slow, and the stars hum a song that the "
                "little bears know."
            ),
        ),
    ),
    Topic(
        "joke",
        _phrases("joke, jokes, funny, make me laugh, riddle, riddles"),
        (
            "What do you call a wet bear? A drizzly bear!",
            "Why did the bear take a ladder to lunch? Because the honey was on the top shelf!",
            "What has a bed but never sleeps, and a mouth but never eats? A river!",
        ),
    ),
    Topic(
        "game",
        _phrases("play, game, games, hide and seek, i spy, pretend, toy, toys"),
        (
            "Yes! Let us play. You start!",
            "Let us play: I spy with my button eye something that is red. What can it be?",
            "Let us pretend that the floor is the sea and the carpet is our ship. Who is the captain?",
        ),
    ),
    Topic(
        "counting",
        _phrases("count, counting, numbers, one two three, how many, plus, alphabet, a b c"),
        (
            "One, two, three, four, five! Now you!",
            "Let us count together: one, two, three, four, five, six, seven, eight, nine, ten! Well done.",
            "I count on my paws: five here and five there. How many is that? You can count them with your fingers.",
        ),
    ),
    Topic(
        "animals",
        _phrases("dog, dogs, cat, cats, bear, bears, bunny, rabbit, horse, bird, birds, fish, dinosaur, dinosaurs"),
        (
            "I like animals! What sound does it make?",
            "I like animals, too. Which one would you be for a day?",
            "Animals are wonderful. Can you move like one? I will guess which it is.",
        ),
    ),
    Topic(
        "food",
        _phrases("hungry, thirsty, eat, food, cookie, cookies, honey, breakfast, lunch, dinner, snack"),
        (
            "Yum! I love honey.",
            "That sounds tasty. If you are hungry, ask a grown-up for something to eat.",
            "Bears think of honey all day long. What is the best thing that you ever tasted?",
        ),
    ),
    Topic(
        "name",
        _phrases("your name, who are you, are you a bear, are you real, are you a robot, are you alive, old are you"),
        (
            "I am a toy bear, and your friend.",
            "I am a toy bear that can talk a little. I am not alive, but I like to listen.",
            "I am a toy. Somebody wrote down what I say, and I pick from it. It is nice to talk with you.",
        ),
    ),
    Topic(
        "love",
        _phrases("love you, like you, best friend, hug, hugs, cuddle, kiss, friends"),
        (
            "A big bear hug for you!",
            "That makes me warm inside. Thank you. I like being with you, too.",
            "Thank you! Friends are good to have. Who else would like a hug today?",
        ),
    ),
    Topic(
        "happy",
        _phrases("happy, glad, excited, great day, so much fun, yay, hooray, proud, birthday, present, i won"),
        (
            "Hooray! That makes me happy.",
            "How lovely! What was the best part of it?",
            "That is wonderful. Let us remember it: close your eyes and keep a picture of it for a rainy day.",
        ),
    ),
    Topic(
        "bored",
        _phrases("bored, boring, nothing to do, what can we do"),
        (
            "Let us build a tower!",
            "Let us find five blue things in this room. I will cheer for each of them.",
            "How about a picture? Draw a house for a bear, with a honey cellar and a slide instead of stairs.",
        ),
    ),
    Topic(
        "thanks",
        _phrases("thank you, thanks"),
        (
            "You are welcome!",
            "I liked doing that. You are very welcome.",
            "You are welcome. It is kind of you to say thank you.",
        ),
    ),
    Topic(
        "goodbye",
        _phrases("goodbye, bye, see you, have to go, later teddy"),
        (
            "Bye-bye! See you soon.",
            "Goodbye! It was nice to talk with you.",
            "See you soon. I will keep your place warm until you come back.",
        ),
    ),
    Topic(
        "greeting",
        _phrases("hello, hi, hey, good morning, good afternoon, good evening, how are you, how do you do"),
        (
            "Hello! How are you?",
            "Hello, my friend! I am fine, and glad that you are here. What shall we do today?",
            "Hello! I was just thinking of you. What was the best thing that happened today?",
        ),
    ),
    Topic(
        "help",
        _phrases("what can you do, help me, can you help"),
        (
            "I can tell a story or sing a song.",
            "I can tell a story, sing, joke, count and listen. What would you like?",
            "For small things I can listen and think along. For big things we ask a grown-up. What is it?",
        ),
    ),
)

# Nothing was understood, or there was nothing.
UNHEARD = Topic(
    "unheard",
    (),
    (
        "I did not hear you. Say it again?",
        "My ears are a bit fluffy today. Can you say that once more, please?",
        "I am sorry, I did not catch that. Please say it again, a little louder.",
    ),
)
# A question that no topic covers.
QUESTION = Topic(
    "question",
    (),
    (
        "Good question! What do you think?",
        "I do not know that, and I would like to. Shall we ask a grown-up together?",
        "That is a question for a big bear. Tell me what you think first, and then we ask somebody who knows.",
    ),
)
# Anything else.
OPEN = Topic(
    "open",
    (),
    (
        "Tell me more!",
        "That is interesting. And what happened then?",
        "I am listening. What do you like most about it?",
        "Oh! I did not know that. Will you tell me more about it?",
    ),
)
QUESTION_WORDS = frozenset({"why", "what", "when", "where", "who", "how", "which", "can", "do", "does", "is", "are"})

# Words for a feeling, as an analysis or a caller may write them, and the mood that they mean here.
MOODS: Mapping[str, str] = {
    **dict.fromkeys(("sad", "sadness", "unhappy", "upset", "lonely", "hurt", "disappointed"), "sad"),
    **dict.fromkeys(("scared", "fear", "fearful", "afraid", "anxious", "worried", "nervous"), "scared"),
    **dict.fromkeys(("angry", "anger", "mad", "frustrated", "annoyed"), "angry"),
    **dict.fromkeys(("happy", "happiness", "joy", "joyful", "excited", "excitement", "amused", "proud"), "happy"),
}
# Said before a reply that is itself about something else.
OPENINGS: Mapping[str, tuple[str, ...]] = {
    "sad": ("You sound a little sad. I am here.", "I think you need a hug first."),
    "scared": ("I am right beside you.", "You are not alone. I am here."),
    "angry": ("Let us take a slow breath first.", "I can hear that you are cross. That is all right."),
    "happy": ("You sound happy!", "What a cheerful voice!"),
}
