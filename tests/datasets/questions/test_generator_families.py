"""Every family on frames built by hand, with the answers that a reader finds by looking."""
import math

import pytest
from hand_built_frames import Thing, answers

from scene_qformer.datasets.questions.generator.ego_motion import EgoMotion
from scene_qformer.datasets.questions.generator.where import distance_words


class TestExist:

    def test_present_and_absent(self):
        asked = answers('exist', Thing('bus', 17))
        assert asked['Is there a bus within 20 meters?'] == 'yes'
        assert asked['Is there a bus within 10 meters?'] == 'no'
        assert asked['Is there a bus in the front camera within 30 meters?'] == 'yes'
        assert asked['Is there a bus in the back camera within 30 meters?'] == 'no'
        assert asked['Is there a vehicle within 20 meters?'] == 'yes'
        assert asked['Is there a car within 30 meters?'] == 'no'

    def test_an_empty_road_is_certain(self):
        asked = answers('exist')
        assert set(asked.values()) == {'no'}
        assert len(asked) == 15 * 9

    @pytest.mark.parametrize('doubtful', [
        Thing('bus', 17, visible=False),
        Thing('bus', 20.9),  # on the circle's line
        Thing('vehicle.emergency.police', 17),  # maybe a car, at least no bus
    ])
    def test_doubt_is_not_asked(self, doubtful):
        asked = answers('exist', doubtful)
        name = 'car' if 'police' in doubtful.category else 'bus'
        assert f'Is there a {name} within 20 meters?' not in asked
        assert asked[f'Is there a {name} within 10 meters?'] == 'no'
        assert ('Is there a bus within 20 meters?' in asked) == (name == 'car')

    def test_doubt_does_not_matter_beside_a_certain_one(self):
        asked = answers('exist', Thing('bus', 17, visible=False), Thing('bus', 13))
        assert asked['Is there a bus within 20 meters?'] == 'yes'

    def test_partly_in_the_image(self):
        asked = answers('exist', Thing('truck', 13, partly=('FRONT_LEFT', )))
        assert asked['Is there a truck in the front camera within 30 meters?'] == 'yes'
        assert 'Is there a truck in the front left camera within 30 meters?' not in asked

    def test_states(self):
        asked = answers('exist', Thing('car', 7, state='parked'))
        assert asked['Is there a parked car within 10 meters?'] == 'yes'
        assert asked['Is there a moving car within 10 meters?'] == 'no'
        assert 'Is there a parked car within 10 meters?' not in answers('exist', Thing('car', 7, state=None))


class TestCount:

    def test_numbers(self):
        cars = [Thing('car', distance, dict(BACK=0.3)) for distance in (3, 5, 13, 23)]
        asked = answers('count', *cars, Thing('bus', 17))
        assert asked['How many cars are there within 10 meters?'] == '2'
        assert asked['How many cars are there within 20 meters?'] == '3'
        assert asked['How many cars are there in the back camera within 30 meters?'] == '4'
        assert asked['How many cars are there in the front camera within 30 meters?'] == '0'
        assert asked['How many vehicles are there within 20 meters?'] == '4'
        assert asked['How many buses are there within 30 meters?'] == '1'

    def test_one_in_doubt_spoils_the_count_of_its_class_only(self):
        asked = answers('count', Thing('car', 13), Thing('car', 17, visible=False), Thing('bus', 17))
        assert 'How many cars are there within 20 meters?' not in asked
        assert asked['How many cars are there within 10 meters?'] == '0'
        assert asked['How many buses are there within 20 meters?'] == '1'

    def test_no_more_than_nine(self):
        assert answers('count', *[Thing('barrier', 7)] * 9)['How many barriers are there within 10 meters?'] == '9'
        assert 'How many barriers are there within 10 meters?' not in answers('count', *[Thing('barrier', 7)] * 10)


class TestCategory:

    def test_nearest(self):
        asked = answers('category', Thing('traffic_cone', 7), Thing('car', 11), Thing('bus', 5, dict(BACK=0.5)))
        assert asked == {
            'What is the nearest object?': 'bus',
            'What is the nearest object in the front camera?': 'traffic cone',
            'What is the nearest object in the back camera?': 'bus',
            'What is the nearest vehicle?': 'bus',
            'What is the nearest vehicle in the front camera?': 'car',
            'What is the nearest vehicle in the back camera?': 'bus',
        }

    @pytest.mark.parametrize('rival, fits', [
        (Thing('car', 11.4), False),  # 1.1 * 10 + 0.5 is 11.5
        (Thing('car', 11.6), True),
        (Thing('bus', 10.1), True),  # the same answer
        (Thing('car', 7, visible=False), False),
        (Thing('animal', 7), False),  # an object too, but of no class
    ])
    def test_rivals(self, rival, fits):
        asked = answers('category', Thing('bus', 10), rival)
        assert asked.get('What is the nearest object in the front camera?') == ('bus' if fits else None)


class TestState:

    def test_vehicles(self):
        asked = answers('state', Thing('car', 7, state='parked'), Thing('car', 13, state='moving'))
        assert asked['Is the nearest car moving?'] == 'no'
        assert asked['Is the nearest car moving, stopped or parked?'] == 'parked'
        assert asked['Is the nearest car in the front camera moving, stopped or parked?'] == 'parked'
        assert not any('back' in question or 'bus' in question for question in asked)

    def test_people_and_cycles(self):
        asked = answers('state', Thing('pedestrian', 7, state='standing'), Thing('bicycle', 11, state='with rider'))
        assert asked['Is the nearest pedestrian moving or standing?'] == 'standing'
        assert asked['Is the nearest pedestrian moving?'] == 'no'
        assert asked['Is there a rider on the nearest bicycle?'] == 'yes'
        assert not any('bicycle moving' in question for question in asked)

    def test_sitting_is_neither_moving_nor_standing(self):
        asked = answers('state', Thing('pedestrian', 7, state='sitting'))
        assert asked['Is the nearest pedestrian moving?'] == 'no'
        assert 'Is the nearest pedestrian moving or standing?' not in asked

    def test_unknown_or_divided(self):
        assert not answers('state', Thing('car', 7, state=None))
        assert not answers('state', Thing('car', 7, state='parked'), Thing('car', 7.3, state='moving'))
        assert answers('state', Thing('car', 7, state='parked'), Thing('car', 7.3, state='parked'))


class TestWhere:

    def test_camera_and_distance(self):
        asked = answers('where', Thing('bus', 11, dict(BACK_LEFT=0.1)), Thing('bus', 23))
        assert asked == {
            'In which camera is the nearest bus?': 'back left',
            'How far away is the nearest bus?': 'about 10 m',
            'How far away is the nearest bus in the back left camera?': 'about 10 m',
            'How far away is the nearest bus in the front camera?': 'about 20 m',
        }

    def test_where_images_overlap_there_is_no_camera(self):
        asked = answers('where', Thing('bus', 11, dict(FRONT=0.95, FRONT_RIGHT=0.1)))
        assert 'In which camera is the nearest bus?' not in asked
        assert 'How far away is the nearest bus?' in asked

    @pytest.mark.parametrize('metres, words', [
        (1.0, 'about 5 m'), (7.0, 'about 5 m'), (7.2, None), (7.8, None), (8.0, 'about 10 m'), (14.0, 'about 10 m'),
        (20.0, 'about 20 m'), (31.0, 'about 30 m'), (41.0, 'about 40 m'), (44.0, None), (48.0, None)])
    def test_distance_words(self, metres, words):
        assert distance_words(metres) == words


class TestCompare:

    def test_nearer(self):
        asked = answers('compare', Thing('bus', 11), Thing('car', 17), Thing('car', 5, dict(BACK=0.5)))
        assert asked['Which is nearer, a car or a bus?'] == 'car'
        assert 'Which is nearer, a car or a bus?' not in answers('compare', Thing('bus', 11), Thing('car', 12))
        assert 'Which is nearer, a car or a bus?' not in answers('compare', Thing('bus', 11))

    def test_more_of(self):
        things = [Thing('car', 13), Thing('car', 17), Thing('bus', 7)]
        asked = answers('compare', *things)
        assert asked['Are there more cars than buses within 20 meters?'] == 'yes'
        assert asked['Are there more cars than buses within 10 meters?'] == 'no'
        assert 'Are there more cars than buses within 20 meters?' not in answers('compare', *things, Thing('bus', 9))
        doubtful = answers('compare', *things, Thing('bus', 9, visible=False))
        assert 'Are there more cars than buses within 20 meters?' not in doubtful

    def test_more_in_a_camera(self):
        asked = answers('compare', Thing('car', 13, dict(FRONT_RIGHT=0.5)))
        question = 'Within 30 meters, are there more {} in the front left camera than in the front right camera?'
        assert asked[question.format('cars')] == 'no'
        assert asked[question.format('vehicles')] == 'no'
        assert question.format('buses') not in asked

    def test_left_or_right(self):
        question = 'In the front camera, is the nearest car to the left or to the right of the nearest bus?'
        bus, car = Thing('bus', 11, dict(FRONT=0.5)), Thing('car', 7, dict(FRONT=0.56))
        assert answers('compare', bus, car)[question] == 'right'
        assert answers('compare', bus, Thing('car', 7, dict(FRONT=0.1)))[question] == 'left'
        assert question not in answers('compare', bus, Thing('car', 7, dict(FRONT=0.54)))
        assert question not in answers('compare', bus, car, Thing('car', 7.3, dict(FRONT=0.44)))  # which car?
        assert answers('compare', bus, car, Thing('car', 9, dict(FRONT=0.44)))[question] == 'right'


class TestEgo:

    MOVING, SPEED, TURN = ('Is the ego car moving?', 'How fast is the ego car?',
                           'Is the ego car turning left, turning right or going straight?')

    @pytest.mark.parametrize('speed, moving, word', [
        (0.1, 'no', 'stationary'), (0.3, None, None), (3, 'yes', 'slow'), (5, None, None), (7, 'yes', 'medium'),
        (9.5, None, None), (13, 'yes', 'fast')])
    def test_speed(self, speed, moving, word):
        asked = answers('ego', ego=EgoMotion(speed, 0.0))
        assert (asked.get(self.MOVING), asked.get(self.SPEED)) == (moving, word)

    @pytest.mark.parametrize('degrees, word', [
        (0, 'straight'), (-1.9, 'straight'), (3, None), (5.1, 'left'), (-7, 'right')])
    def test_turn(self, degrees, word):
        assert answers('ego', ego=EgoMotion(3, math.radians(degrees))).get(self.TURN) == word

    def test_who_stands_does_not_turn(self):
        assert self.TURN not in answers('ego', ego=EgoMotion(0.1, 0.0))

    def test_unknown_motion(self):
        assert not answers('ego', ego=None)
